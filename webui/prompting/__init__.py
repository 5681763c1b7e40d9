"""From a prompt's text to the conditioning of the UNet."""
