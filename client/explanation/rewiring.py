"""The classifier with deep SHAP's multipliers in place of its gradients, refused where an operation has none.

torch.fx records every operation of the backbone. Linear ones stay; each call of another one gets a module of
:mod:`client.explanation.multipliers`. The result computes the same logits; only its backward pass differs.
"""

from __future__ import annotations

import operator

import torch
from torch import fx, nn
from torch.nn import functional as F
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import StochasticDepth

from client.explanation.multipliers import (
    ElementwiseRule,
    LogSumExpRule,
    MaxPoolRule,
    NormalisationRule,
    ProductRule,
)
from common.errors import ExplainerError
from common.models.classifier import BreastClassifier

LINEAR_MODULES = (
    nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Identity, nn.Dropout, StochasticDepth,
    nn.Flatten,
)  # fmt: skip
"""Linear in evaluation mode."""
LINEAR_CALLS = (operator.add, torch.add, torch.cat, torch.permute, torch.flatten, torch.mean)
LINEAR_METHODS = ("permute", "flatten", "mean", "transpose")
PRODUCTS = (operator.mul, operator.imul, torch.mul)
ELEMENTWISE = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh,
    nn.Softplus,
)  # fmt: skip


class GroupNormRule(nn.Module):
    """GroupNorm with multipliers."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.weight, self.bias = norm.num_groups, norm.weight, norm.bias
        self.normalise = NormalisationRule(norm.eps)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The normalised ``(N, C, H, W)``."""
        normalised: torch.Tensor = self.normalise(inputs.reshape(len(inputs), self.groups, -1)).view(inputs.shape)
        return normalised * self.weight[:, None, None] + self.bias[:, None, None]


class LayerNormRule(nn.Module):
    """LayerNorm over the channels with multipliers; they are the last dimension, or the second of ``(N, C, H, W)``."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.channels_first = isinstance(norm, LayerNorm2d)
        self.weight, self.bias = norm.weight, norm.bias
        self.normalise = NormalisationRule(norm.eps)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The normalised input."""
        last = inputs.permute(0, 2, 3, 1) if self.channels_first else inputs
        normalised: torch.Tensor = self.normalise(last) * self.weight + self.bias
        return normalised.permute(0, 3, 1, 2) if self.channels_first else normalised


class MultiplierClassifier(nn.Module):
    """A classifier of two inputs, ``grey`` and ``tissue``, whose backward pass gives multipliers.

    A batch is two halves: views, and as many references.

    Args:
        model: in evaluation mode; its modules are taken over, so give a copy.

    Raises:
        ExplainerError: the backbone has an operation for which no multipliers are known.
    """

    def __init__(self, model: BreastClassifier) -> None:
        super().__init__()
        # In a tuple: shap would hang a hook of its own on every module that it finds.
        self._network = (with_multipliers(model.backbone), model.head)
        self._pooling = (ElementwiseRule(torch.sign), LogSumExpRule(model.sharpness)) if model.pooling == "lse" else ()

    def forward(self, grey: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
        """Logits ``(N, 1)``."""
        backbone, head = self._network
        features = backbone(grey)
        if not self._pooling:
            logits: torch.Tensor = head(features.mean(dim=(2, 3)))
            return logits
        local = head(features.flatten(2).transpose(1, 2))[..., 0]
        # A cell counts when any of its pixels is tissue; if it counts in one half only, these pixels are the reason.
        is_positive, pool = self._pooling
        counts = is_positive(F.adaptive_avg_pool2d(tissue, (features.shape[2], features.shape[3])))
        pooled: torch.Tensor = pool(local, counts.flatten(1))[:, None]
        return pooled


class _Recorder(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*LINEAR_MODULES, *ELEMENTWISE, nn.LayerNorm)) or super().is_leaf_module(
            m, module_qualified_name
        )


def with_multipliers(network: nn.Module) -> fx.GraphModule:
    """Rewire a network in evaluation mode; its modules are taken over.

    Raises:
        ExplainerError: an operation for which no multipliers are known; named with its place.
    """
    graph = _Recorder().trace(network)
    rewired = fx.GraphModule(network, graph)
    for number, node in enumerate(list(graph.nodes)):
        rule = _rule_of(node, rewired)
        if rule is not None:
            name = f"rule{number}"
            rewired.add_submodule(name, rule)
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.call_module(name, node.args))
            graph.erase_node(node)
        elif node.target is operator.iadd:
            node.target = operator.add  # in place it would overwrite what another layer needs
    rewired.recompile()
    return rewired


def _rule_of(node: fx.Node, network: fx.GraphModule) -> nn.Module | None:
    """The module that takes the place of a node; ``None`` where it may stay."""
    match node.op:
        case "call_module":
            return _rule_of_module(network.get_submodule(str(node.target)), str(node.target))
        case "call_function" if node.target in PRODUCTS:
            both_vary = all(isinstance(argument, fx.Node) and argument.op != "get_attr" for argument in node.args)
            return ProductRule() if both_vary else None
        case "call_function" if node.target not in (*LINEAR_CALLS, operator.iadd):
            raise _refused(getattr(node.target, "__name__", str(node.target)), node.name)
        case "call_method" if node.target not in LINEAR_METHODS:
            raise _refused(str(node.target), node.name)
    return None


def _rule_of_module(module: nn.Module, place: str) -> nn.Module | None:
    if isinstance(module, LINEAR_MODULES):
        return None
    if isinstance(module, ELEMENTWISE):
        return ElementwiseRule(_out_of_place(module))
    if isinstance(module, nn.GroupNorm):
        return GroupNormRule(module)
    if isinstance(module, nn.LayerNorm):
        return LayerNormRule(module)
    if isinstance(module, nn.MaxPool2d) and module.dilation == 1 and not module.ceil_mode:
        kernel, stride, padding = module.kernel_size, module.stride, module.padding
        if isinstance(kernel, int) and isinstance(stride, int) and isinstance(padding, int):
            return MaxPoolRule(kernel, stride, padding)
    raise _refused(type(module).__name__, place)


def _out_of_place(module: nn.Module) -> nn.Module:
    if hasattr(module, "inplace"):
        setattr(module, "inplace", False)  # noqa: B010
    return module


def _refused(operation: str, place: str) -> ExplainerError:
    return ExplainerError(
        f"deep SHAP has no exact rule for {operation}",
        where=f"the backbone's {place}",
        do="leave shap out of evaluation.explainers; expected_gradients and hirescam need no rules",
    )
