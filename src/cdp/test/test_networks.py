"""Shapes, invariances and refusals of the networks."""

import ast
import sys
import types
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import cdp.networks
from cdp.config import ConfigError, from_mapping, to_mapping
from cdp.diffusion.conversions import coefficients, x0_to_eps, x0_to_v
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import DenoiserConfig, EncoderConfig, NetworkConfig
from cdp.networks.encoder import LowdimEncoder, VisionEncoder, centre_crop
from cdp.networks.layers import SelfAttention, TokenNorm
from cdp.networks.policy import build_denoiser, build_policy, parameter_count
from cdp.networks.prediction import ConvertedDenoiser
from cdp.networks.resnet import ResNet, SpatialSoftmax

DENOISERS = {
    "dit": DenoiserConfig(kind="dit", width=16, depth=2, heads=2),
    "unet": DenoiserConfig(kind="unet", width=8, depth=3, kernel=3),
    "mlp": DenoiserConfig(kind="mlp", width=16, depth=2),
    "pearce": DenoiserConfig(kind="pearce", width=16, depth=2),
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


@pytest.mark.parametrize(("prediction", "convert"), [("eps", x0_to_eps), ("v", x0_to_v)])
def test_a_policy_gives_x0_whatever_its_network_predicts(prediction, convert):
    """A network that predicts rightly is converted to the x0 it had in mind, at every time up to the end of the schedule."""
    schedule = Schedule(offset=0.02)
    x0, noise = (torch.randn(6, 8, 3, dtype=torch.float64) for _ in range(2))
    t = torch.linspace(schedule.t_min, schedule.t_max, 6, dtype=torch.float64)
    alpha, sigma = coefficients(schedule, t, x0)
    x = alpha * x0 + sigma * noise

    class Right(torch.nn.Module):
        def forward(self, x, t, cond):
            return convert(x, x0, alpha, sigma)

    denoiser = build_denoiser(DenoiserConfig(kind="mlp", width=8, depth=1, prediction=prediction), 8, 3, 16, schedule)
    denoiser.network = Right()
    torch.testing.assert_close(denoiser(x, t, torch.zeros(6, 16)), x0)
    assert torch.isfinite(denoiser(x, torch.ones_like(t), torch.zeros(6, 16))).all(), "beyond the schedule too"
    with pytest.raises(ValueError, match="prediction 'score' is not one of x0, eps, v, flow"):
        ConvertedDenoiser(Right(), "score", schedule)
    with pytest.raises(ConfigError, match=r"denoiser.prediction: 'score' is not one of 'x0', 'eps', 'v', 'flow'"):
        from_mapping(NetworkConfig, {"denoiser": {"prediction": "score"}})


def test_a_policy_without_images():
    config = NetworkConfig(EncoderConfig(kind="lowdim", state_width=24, state_depth=3, condition_width=16), DENOISERS["pearce"])
    policy = build_policy(config, lowdim_width=5, action_width=3, window=2, horizon=8)
    assert isinstance(policy.encoder, LowdimEncoder)
    scrambled(policy)
    lowdim = torch.randn(4, 2, 5)
    cond = policy.encode(None, lowdim)
    assert cond.shape == (4, 16)
    torch.testing.assert_close(policy.encode(torch.rand(4, 2, 3, 32, 32), lowdim), cond)
    for row in range(2):
        changed = lowdim.clone()
        changed[:, row] += 1.0
        assert (policy.encode(None, changed) - cond).abs().max() > 1e-3
    hidden = [m.out_features for m in policy.encoder.lowdim if isinstance(m, torch.nn.Linear)]
    assert hidden == [24, 24, 24, 24]


def test_the_resnet_is_resnet_18():
    """11,176,512 weights without its classifier (table 1 of arXiv 1512.03385; group and batch normalisation have as many)."""
    net = ResNet((2, 2, 2, 2), 64, 2, "pool")
    assert parameter_count(net) == 11_176_512
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)
    assert parameter_count(ResNet((1, 1, 1, 1), 64, 2, "pool")) == 4_905_792


@pytest.fixture
def user_module(monkeypatch):
    """A module as a user would bring it, with batch normalisation as torchvision's have."""
    module = types.ModuleType("users_own")

    def features(channels=12, vector=False):
        layers = [torch.nn.Conv2d(3, channels, 3, 4, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(channels), torch.nn.ReLU())]
        return torch.nn.Sequential(*layers, *([torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()] if vector else []))

    module.features = features
    module.number = lambda: 3
    module.flat = lambda: torch.nn.Sequential(torch.nn.Flatten(2))
    module.volume = lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm3d(4))
    monkeypatch.setitem(sys.modules, "users_own", module)
    return module


def encoder_of(backbone, **options):
    values = {"backbone": backbone, "backbone_options": options, "keypoints": 4, "crop_size": 24, "condition_width": 16}
    config = from_mapping(EncoderConfig, values, "network.encoder.")
    assert from_mapping(EncoderConfig, to_mapping(config)) == config
    return VisionEncoder(config, window=2, lowdim_width=5)


@pytest.mark.parametrize(("options", "width"), [({}, 12 + 8), ({"channels": 8, "vector": True}, 8)])
def test_a_backbone_of_the_users_own(user_module, options, width):
    """Maps are pooled, vectors are taken as they are, and the samples of a batch do not see one another."""
    encoder = encoder_of("users_own:features", **options)
    assert encoder.fuse.in_features == 2 * width + 64
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in encoder.modules())
    image, lowdim = torch.rand(3, 2, 3, 32, 32), torch.randn(3, 2, 5)
    cond = encoder.train()(image, lowdim)
    assert cond.shape == (3, 16)
    torch.testing.assert_close(encoder(image[:1], lowdim[:1]), cond[:1])


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("vit", {}, "'vit' is neither one of 'resnet' nor 'package.module:factory'"),
        ("no_such_package:make", {}, "'no_such_package:make' with options {} does not work"),
        ("users_own:missing", {}, "'users_own:missing' with options {} does not work"),
        ("users_own:features", {"depth": 3}, "unexpected keyword argument 'depth'"),
        ("users_own:number", {}, "gave a int, not a torch.nn.Module"),
        ("users_own:flat", {}, r"gives \(1, 3, 576\) for one image"),
        ("users_own:volume", {}, "has a BatchNorm3d, which cannot be replaced"),
    ],
)
def test_backbones_that_cannot_work_are_refused_by_name(user_module, backbone, options, message):
    with pytest.raises(ConfigError, match=rf"^network\.encoder\.backbone: .*{message}"):
        encoder_of(backbone, **options)


def test_options_need_a_backbone_of_the_users_own():
    with pytest.raises(ConfigError, match=r"backbone_options: {'pretrained': True} are for a backbone of your own; 'resnet' takes none"):
        EncoderConfig(backbone_options={"pretrained": True})


def test_bad_sizes_are_refused_by_name():
    with pytest.raises(ConfigError, match="heads: 5 does not divide the width 16"):
        DenoiserConfig(width=16, heads=5)
    with pytest.raises(ConfigError, match="width: 12 is not a multiple of 8"):
        EncoderConfig(width=12)
    with pytest.raises(ValueError, match="horizon of 6 cannot be halved 2 times"):
        build_denoiser(DenoiserConfig(kind="unet", width=8, depth=3), 6, 3, 16)


FORBIDDEN = {"LayerNorm", "layer_norm", "scaled_dot_product_attention", "MultiheadAttention"}


class Operations(TorchDispatchMode):
    """Records the names of the operations that torch carries out."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", DENOISERS)
@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_no_denoiser_has_a_layer_norm(kind, prediction):
    """Neither as a module nor as an operation, however it came in; the fused attention neither."""
    config = from_mapping(DenoiserConfig, to_mapping(DENOISERS[kind]) | {"prediction": prediction})
    model = build_denoiser(config, 8, 3, 16)
    assert not any(isinstance(m, torch.nn.LayerNorm | torch.nn.MultiheadAttention) for m in model.modules())
    with Operations() as seen:
        model(torch.randn(2, 8, 3), torch.rand(2), torch.randn(2, 16))
    assert seen.names & {"addmm", "mm", "convolution"}, "the operations are seen"
    assert not any("layer_norm" in name or "scaled_dot_product" in name for name in seen.names), seen.names


def test_no_fused_layer_whose_second_derivative_is_wrong_or_missing():
    for path in Path(cdp.networks.__file__).parent.glob("*.py"):
        names = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        assert not names & FORBIDDEN, f"{path.name}: {names & FORBIDDEN}"
