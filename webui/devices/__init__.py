"""Which device and which precision a model computes with."""
