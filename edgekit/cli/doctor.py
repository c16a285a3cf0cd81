"""`edgekit doctor`: what works on this machine, and what to install for the rest."""

from __future__ import annotations

import click


@click.command(name="doctor")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(as_json: bool) -> int:
    """Show runtimes, extras, CPU features and GPUs of this machine, and what is missing."""
    from edgekit.environment import doctor, environment

    machine, findings = environment(), doctor()
    if as_json:
        import json
        from dataclasses import asdict

        document = {"environment": machine.to_json(), "findings": [asdict(f) for f in findings]}
        click.echo(json.dumps(document, indent=2, default=str))
        return 0
    cpu = machine.cpu
    click.echo(f"system      {machine.os}, Python {machine.python}")
    click.echo(f"CPU         {cpu.model}, {cpu.cores} cores, {machine.memory / 2**30:.1f} GiB")
    click.echo(f"features    {', '.join(cpu.features) or 'unknown'}")
    click.echo(f"INT8 on CPU {_advice(cpu.vnni)}")
    click.echo(
        f"GPU         {', '.join(machine.gpus) or 'none: TensorRT artifacts are not run here'}"
    )
    kind = ""
    for finding in findings:
        if str(finding.kind) != kind:
            kind = str(finding.kind)
            click.echo(f"\n{kind}s")
        mark = "ok" if finding.usable else "--"
        click.echo(f"  {mark}  {finding.name:13}{finding.version or '-':14}{finding.detail}")
        if finding.install:
            click.echo(f"      {'':13}{finding.install}")
    return 0


def _advice(vnni: bool) -> str:
    if vnni:
        return "VNNI found: full-range 8-bit weights are exact here (--cpu vnni)"
    return "no VNNI: keep the default --cpu portable, which holds weights within 7 bits"
