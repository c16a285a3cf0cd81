"""Small models and checks, for our tests and our users'."""
