"""How pixels become what the networks were trained on."""

MEAN = (0.485, 0.456, 0.406)
"""Channel means the networks were trained with (ImageNet, RGB, 0..1)."""

DEVIATION = (0.229, 0.224, 0.225)
"""Channel deviations the networks were trained with."""
