"""Shapes, invariances and refusals of the networks."""

import ast
from pathlib import Path

import pytest
import torch

import cdp.networks
from cdp.config import ConfigError
from cdp.networks.config import DenoiserConfig, EncoderConfig, NetworkConfig
from cdp.networks.encoder import VisionEncoder, centre_crop
from cdp.networks.layers import SelfAttention, TokenNorm
from cdp.networks.policy import build_denoiser, build_policy, parameter_count
from cdp.networks.resnet import SpatialSoftmax

DENOISERS = {
    "dit": DenoiserConfig(kind="dit", width=16, depth=2, heads=2),
    "unet": DenoiserConfig(kind="unet", width=8, depth=3, kernel=3),
    "mlp": DenoiserConfig(kind="mlp", width=16, depth=2),
}
ENCODER = EncoderConfig(blocks=(1, 1), width=8, keypoints=4, crop_size=24, condition_width=16)


def scrambled(module):
    """Every weight random: layers that start at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@pytest.mark.parametrize("kind", DENOISERS)
def test_denoisers_treat_samples_apart_and_use_all_their_inputs(kind):
    model = scrambled(build_denoiser(DENOISERS[kind], 8, 3, 16))
    x, t, cond = torch.randn(4, 8, 3), torch.rand(4), torch.randn(4, 16)
    out = model(x, t, cond)
    assert out.shape == (4, 8, 3)
    torch.testing.assert_close(model(x[1:2], t[1:2], cond[1:2]), out[1:2], rtol=1e-4, atol=1e-5)
    for changed in ((x + 1, t, cond), (x, t * 0.5, cond), (x, t, cond + 1)):
        assert (model(*changed) - out).abs().max() > 1e-3


@pytest.mark.parametrize("kind", DENOISERS)
def test_denoisers_start_at_zero(kind):
    model = build_denoiser(DENOISERS[kind], 8, 3, 16)
    assert model(torch.randn(2, 8, 3), torch.rand(2), torch.randn(2, 16)).abs().max() == 0


@pytest.mark.parametrize("pooling", ["average", "spatial_softmax", "both"])
@pytest.mark.parametrize("stem", ["patch", "pool"])
def test_encoder_sees_the_centre_of_each_frame(pooling, stem):
    config = EncoderConfig(blocks=(1, 1), width=8, keypoints=4, crop_size=24, condition_width=16, pooling=pooling, stem=stem)
    encoder = scrambled(VisionEncoder(config, window=2, lowdim_width=5))
    image, lowdim = torch.rand(3, 2, 3, 32, 32), torch.randn(3, 2, 5)
    cond = encoder(image, lowdim)
    assert cond.shape == (3, 16)
    torch.testing.assert_close(encoder(image[..., 4:28, 4:28], lowdim), cond)
    outside = image.clone()
    outside[..., :4, :] = 0
    torch.testing.assert_close(encoder(outside, lowdim), cond)
    older = image.clone()
    older[:, 0] = 0
    assert (encoder(older, lowdim) - cond).abs().max() > 1e-4


def test_a_small_image_is_refused():
    with pytest.raises(ValueError, match="20x32 image is smaller than the crop of 24"):
        centre_crop(torch.zeros(1, 20, 32), 24)


def test_token_norm_is_layer_norm():
    x = torch.randn(5, 4, 16, dtype=torch.float64)
    torch.testing.assert_close(TokenNorm()(x), torch.nn.functional.layer_norm(x, (16,)))


def test_attention_is_scaled_dot_product_attention():
    layer = scrambled(SelfAttention(12, 3)).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    q, k, v = (p.reshape(2, 5, 3, 4).transpose(1, 2) for p in layer.qkv(x).chunk(3, dim=-1))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 5, 12)
    torch.testing.assert_close(layer(x), layer.out(expected))


def test_keypoints_point_at_a_bright_pixel():
    pool = SpatialSoftmax(1, 1)
    with torch.no_grad():
        pool.keypoints.weight.fill_(1.0)
        pool.keypoints.bias.zero_()
    features = torch.zeros(1, 1, 5, 9)
    features[0, 0, 1, 6] = 50.0
    torch.testing.assert_close(pool(features), torch.tensor([[0.5, -0.5]]))


def test_whole_policy():
    policy = build_policy(NetworkConfig(ENCODER, DENOISERS["dit"]), lowdim_width=5, action_width=3, window=2, horizon=8)
    cond = policy.encode(torch.rand(2, 2, 3, 32, 32), torch.rand(2, 2, 5))
    assert policy.denoise(torch.randn(2, 8, 3), torch.rand(2), cond).shape == (2, 8, 3)
    assert parameter_count(policy) == parameter_count(policy.encoder) + parameter_count(policy.denoiser)


def test_bad_sizes_are_refused_by_name():
    with pytest.raises(ConfigError, match="heads: 5 does not divide the width 16"):
        DenoiserConfig(width=16, heads=5)
    with pytest.raises(ConfigError, match="width: 12 is not a multiple of 8"):
        EncoderConfig(width=12)
    with pytest.raises(ValueError, match="horizon of 6 cannot be halved 2 times"):
        build_denoiser(DenoiserConfig(kind="unet", width=8, depth=3), 6, 3, 16)


def test_no_fused_layer_whose_second_derivative_is_wrong_or_missing():
    forbidden = {"LayerNorm", "layer_norm", "scaled_dot_product_attention", "MultiheadAttention"}
    for path in Path(cdp.networks.__file__).parent.glob("*.py"):
        names = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        assert not names & forbidden, f"{path.name}: {names & forbidden}"
