"""Compile a trained model into the artifact each edge target runs best, and prove how far it drifted."""
