"""Rewrites to the one form that converters read."""
