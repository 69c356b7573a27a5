"""The networks that coverage is measured on, with random weights and inputs as small as each allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

__all__ = ["NETWORKS", "family", "network_and_inputs", "targets_for"]

SIZE = 96

# torchvision: one or more of every family.
_CLASSIFICATION = """alexnet vgg11 vgg16_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 densenet201
    googlenet inception_v3 squeezenet1_0 squeezenet1_1 shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
    shufflenet_v2_x2_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 mnasnet1_0 efficientnet_b0
    efficientnet_v2_s regnet_x_400mf regnet_y_400mf convnext_tiny maxvit_t"""
_SEGMENTATION = "fcn_resnet50 deeplabv3_resnet50 deeplabv3_mobilenet_v3_large lraspp_mobilenet_v3_large"
_DETECTION = """ssd300_vgg16 ssdlite320_mobilenet_v3_large retinanet_resnet50_fpn retinanet_resnet50_fpn_v2
    fcos_resnet50_fpn fasterrcnn_resnet50_fpn fasterrcnn_resnet50_fpn_v2 fasterrcnn_mobilenet_v3_large_320_fpn
    maskrcnn_resnet50_fpn keypointrcnn_resnet50_fpn"""

# timm: at least one network of every family with convolutions (module of timm.models), and the most used ones.
_TIMM: Mapping[str, str] = {
    "byoanet": "botnet26t_256 halonet26t eca_botnext26ts_256 lambda_resnet26t",
    "byobnet": "gernet_s repvgg_a0 mobileone_s0 resnet33ts bat_resnext26ts gcresnet33ts",
    "convmixer": "convmixer_768_32",
    "convnext": "convnext_atto convnext_tiny convnextv2_atto",
    "cpubone": "cpubone_nano",
    "csatv2": "csatv2",
    "cspnet": "cspresnet50 cspdarknet53 cs3darknet_s darknet53",
    "cspnext": "cspnext_tiny",
    "densenet": "densenet121 densenetblur121d",
    "dla": "dla34 dla60_res2net dla46x_c",
    "dpn": "dpn48b dpn68",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": """efficientnet_b0 tf_efficientnet_b0 efficientnetv2_rw_t tf_efficientnetv2_b0 mobilenetv2_100
        mnasnet_100 mixnet_s efficientnet_cc_b0_4e tinynet_e efficientnet_lite0 mobilenetv1_100""",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "ghostnet": "ghostnet_100 ghostnetv2_100 ghostnetv3_050",
    "hardcorenas": "hardcorenas_a",
    "hgnet": "hgnetv2_b0 hgnet_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_conv_128s levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "mambaout_femto",
    "maxxvit": "coatnet_pico_rw_224 maxvit_pico_rw_256",
    "metaformer": "poolformer_s12 poolformerv2_s12 convformer_s18",
    "mobilenetv3": "mobilenetv3_small_100 mobilenetv3_large_100 lcnet_050 fbnetv3_b",
    "mobilenetv5": "mobilenetv5_300m",
    "mobilevit": "mobilevit_xxs mobilevitv2_050",
    "nasnet": "nasnetalarge",
    "nextvit": "nextvit_small",
    "nfnet": "eca_nfnet_l0 nf_resnet26 dm_nfnet_f0",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002 regnety_002 regnetz_005",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m0_9",
    "res2net": "res2net50_26w_4s res2next50",
    "resnest": "resnest14d",
    "resnet": "resnet18 resnet50 resnet50d seresnet50 ecaresnet50t wide_resnet50_2 resnext50_32x4d resnetrs50",
    "resnetv2": "resnetv2_50 resnetv2_50x1_bit",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42b",
    "senet": "legacy_seresnet18",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s1",
    "swiftformer": "swiftformer_xs",
    "tiny_vit": "tiny_vit_5m_224",
    "tresnet": "tresnet_m",
    "vgg": "vgg16 vgg16_bn",
    "visformer": "visformer_tiny",
    "vision_transformer_hybrid": "vit_small_r26_s32_224",
    "vitamin": "vitamin_small_224",
    "vovnet": "ese_vovnet19b_dw vovnet39a",
    "xception": "legacy_xception",
    "xception_aligned": "xception41",
}

NETWORKS: tuple[str, ...] = (
    *(f"torchvision/{name}" for name in (*_CLASSIFICATION.split(), *_SEGMENTATION.split(), *_DETECTION.split())),
    *(f"timm/{name}" for names in _TIMM.values() for name in names.split()),
)
_SIZES = {"maxvit_t": 224, "alexnet": 128, "ssd300_vgg16": 300}
_SIZES |= {"ssdlite320_mobilenet_v3_large": 320, "inception_v3": 299}  # its auxiliary head refuses less


def family(name: str) -> str:
    """The module that a network is defined in."""
    library, _, short = name.partition("/")
    if library == "timm":
        return next(module for module, names in _TIMM.items() if short in names.split())
    kinds = {"segmentation": _SEGMENTATION, "detection": _DETECTION}
    return next((kind for kind, names in kinds.items() if short in names.split()), "classification")


def network_and_inputs(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network in eval mode with random weights, the same ones each time, and images it takes."""
    torch.manual_seed(0)
    library, _, short = name.partition("/")
    if library == "timm":
        return _timm(short)
    kind, size = family(name), _SIZES.get(short, SIZE)
    if kind == "detection":
        small = {} if short.startswith("ssd") else {"min_size": 128, "max_size": 128}
        few = {"rpn_post_nms_top_n_test": 20, "box_detections_per_img": 5, "box_score_thresh": 0.0}
        options: dict[str, Any] = {"weights": None, "weights_backbone": None, **small}
        options |= few if "rcnn" in short else {}
        model = torchvision.models.get_model(short, **options)
        images = 2 if short.startswith("ssdlite") else 1  # its last maps are one pixel, of which no variance is taken
        return model.eval(), ([torch.rand(3, size, size) for _ in range(images)],)
    options = {"weights_backbone": None} if kind == "segmentation" else {}
    model = torchvision.models.get_model(short, weights=None, **options)
    return model.eval(), (torch.randn(2, 3, size, size),)


def _timm(short: str) -> tuple[nn.Module, tuple[Any, ...]]:
    model = timm.create_model(short, pretrained=False).eval()
    config = model.pretrained_cfg
    channels, *sides = config["input_size"]
    if not config.get("fixed_input_size") and short not in {"nasnetalarge", "pnasnet5large", "inception_v3"}:
        try:
            small = torch.randn(2, channels, SIZE, SIZE)
            with torch.no_grad():
                model(small)
            return model, (small,)
        except (RuntimeError, AssertionError, ValueError):
            pass  # it says no other way that it wants the size it was designed for
    sides = [128, 128] if short in {"nasnetalarge", "pnasnet5large", "inception_v3"} else sides
    return model, (torch.randn(2, channels, *sides),)


def targets_for(name: str, images: list[Tensor]) -> list[dict[str, Tensor]]:
    """One box per image with all that a detector's training wants."""
    box = torch.tensor([[10.0, 10.0, 60.0, 60.0]])
    target: dict[str, Tensor] = {"boxes": box, "labels": torch.tensor([1])}
    if "maskrcnn" in name:
        target["masks"] = torch.ones(1, *images[0].shape[1:], dtype=torch.uint8)
    if "keypointrcnn" in name:
        target["keypoints"] = torch.tensor([[[30.0, 30.0, 1.0]] * 17])
    return [target for _ in images]
