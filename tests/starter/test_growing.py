"""A denoiser for larger pictures begins as a smaller one and learns the rest."""

import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional

from starter.growing import inner_name, take_inner_levels
from starter.unet import build_unet


def smaller_unet() -> UNet2DConditionModel:
    """The denoiser of the larger one's inner levels."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(96, 160, 160),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type=None,
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=128,
        attention_head_dim=4,
    )


def test_all_inner_layers_are_those_of_the_smaller_model() -> None:
    torch.manual_seed(0)
    larger, smaller = build_unet(), smaller_unet()
    before, after = smaller.state_dict(), larger.state_dict()
    taken = take_inner_levels(larger, smaller)
    assert all(torch.equal(after[inner_name(name)], before[name])
               for name in before if inner_name(name) in taken)  # fmt: skip
    attention = {inner_name(name) for name in before if "attentions" in name}
    assert attention and attention <= taken


def test_the_inner_levels_see_pooled_latents_as_the_smaller_model_did() -> None:
    torch.manual_seed(0)
    larger, smaller = build_unet(), smaller_unet()
    take_inner_levels(larger, smaller)
    smooth = functional.interpolate(torch.randn(2, 4, 8, 8), size=(32, 32), mode="bilinear")
    with torch.no_grad():
        handed = larger.down_blocks[0].downsamplers[0](larger.conv_in(smooth))
        found = larger.down_blocks[1].resnets[0].conv_shortcut(handed)[..., 2:-2, 2:-2]
        known = smaller.conv_in(1.4 * functional.avg_pool2d(smooth, 2))[..., 2:-2, 2:-2]
    correlation = torch.corrcoef(torch.stack([found.flatten(), known.flatten()]))[0, 1]
    assert correlation > 0.95


def test_time_means_less_noise_to_the_inner_levels() -> None:
    torch.manual_seed(0)
    larger, smaller = build_unet(), smaller_unet()
    take_inner_levels(larger, smaller)
    with torch.no_grad():
        late = larger.time_embedding(larger.time_proj(torch.tensor([600])))
        all_times = smaller.time_embedding(smaller.time_proj(torch.arange(1000)))
    nearest = (all_times - late).square().sum(dim=1).argmin().item()
    assert 350 < nearest < 550
