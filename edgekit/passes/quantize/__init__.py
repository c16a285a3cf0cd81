"""From ranges to a plan, and from a plan to Q/DQ pairs."""
