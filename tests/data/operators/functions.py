"""Functions of single values, comparisons, reductions and norms."""

import numpy as np
from network import BOOL, INT32, INT64, INT8, UINT8, case, single
from onnx import TensorProto


def between(name, op, opset, scale=1.0, shift=0.0, **attributes):
    """A function of single values: of the input, between two convolutions, and last."""

    def build(n):
        def one(value):
            if scale != 1.0 or shift != 0.0:
                value = n.Add(n.Mul(value, n.constant(scale)), n.constant(shift))
            return n.node(op, value, **attributes)

        return one(n.conv(one(n.map(of=one(n.x))), 3, 3, (3, 2)))

    case(name, opset, build)


def functions():
    single_functions = [
        ("Abs", 13, {}),
        ("Celu", 12, {}),
        ("Celu", 12, {"alpha": 0.6}),
        ("Ceil", 13, {}),
        ("Cos", 7, {}),
        ("Elu", 6, {}),
        ("Elu", 6, {"alpha": 0.7}),
        ("Erf", 13, {}),
        ("Floor", 13, {}),
        ("Gelu", 20, {}),
        ("Gelu", 20, {"approximate": "tanh"}),
        ("HardSigmoid", 6, {}),
        ("HardSigmoid", 6, {"alpha": 1 / 6}),
        ("HardSigmoid", 6, {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", 14, {}),
        ("Identity", 13, {}),
        ("LeakyRelu", 6, {}),
        ("LeakyRelu", 16, {"alpha": 0.2}),
        ("LeakyRelu", 16, {"alpha": 1.5}),
        ("LeakyRelu", 16, {"alpha": -0.5}),
        ("Mish", 18, {}),
        ("Neg", 13, {}),
        ("Relu", 6, {}),
        ("Relu", 14, {}),
        ("Round", 11, {}),
        ("Selu", 6, {}),
        ("Selu", 6, {"alpha": 1.2, "gamma": 0.8}),
        ("Sigmoid", 13, {}),
        ("Sign", 13, {}),
        ("Sin", 7, {}),
        ("Softplus", 1, {}),
        ("Softsign", 1, {}),
        ("Swish", 24, {}),
        ("Swish", 24, {"alpha": 1.7}),
        ("Tanh", 13, {}),
        ("ThresholdedRelu", 10, {}),
        ("ThresholdedRelu", 10, {"alpha": 0.4}),
        ("ThresholdedRelu", 10, {"alpha": -0.4}),
        ("Dropout", 7, {}),
        ("Dropout", 10, {"ratio": 0.3}),
        ("Dropout", 13, {}),
    ]
    seen = {}
    for op, opset, attributes in single_functions:
        seen[op] = seen.get(op, 0) + 1
        between(f"{op.lower()}_{seen[op]}", op, opset, **attributes)
    between("exp", "Exp", 13, 0.1)
    between("log", "Log", 13, 0.01, 1.5)
    between("sqrt", "Sqrt", 13, 0.01, 1.5)
    between("reciprocal", "Reciprocal", 13, 0.01, 1.5)
    for op, opset in [("Floor", 13), ("Ceil", 13), ("Round", 11), ("Sign", 13), ("Abs", 13)]:
        # Exact halves and zeros of either sign.
        halves = [-2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, -0.3, 3.7]
        case(
            f"{op.lower()}_of_halves",
            opset,
            lambda n, op=op: n.node(op, n.Add(n.Mul(n.Slice(n.row(10), [0], [10], [1]), 0.0), n.constant(halves))),
        )
    case("not", 13, lambda n: n.cast(n.Not(n.Greater(n.map(), 0.1))))
    case("round_of_convolution_times_ten", 11, lambda n: n.Round(n.Mul(n.map(), 10.0)))
    for op, attributes in [
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("Erf", {}),
        ("Gelu", {}),
        ("Gelu", {"approximate": "tanh"}),
        ("HardSwish", {}),
        ("Softplus", {}),
        ("Mish", {}),
        ("Swish", {}),
        ("Exp", {}),
        ("Elu", {}),
        ("Softsign", {}),
        ("Selu", {}),
        ("Celu", {"alpha": 2.0}),
    ]:
        # Where values saturate.
        kind = "".join(str(value) for value in attributes.values() if isinstance(value, str))
        case(
            f"{op.lower()}{kind}_of_large_values",
            24,
            lambda n, op=op, attributes=attributes: n.node(
                op, n.Mul(n.row(12), n.constant(9.0 if op == "Exp" else 30.0)), **attributes
            ),
        )
    case("sigmoid_mul", 13, lambda n: (lambda c: n.conv(n.Mul(c, n.Sigmoid(c)), 3, 3))(n.map()))
    case("erf_gelu", 13, lambda n: (lambda c: n.Mul(n.Mul(c, 0.5), n.Add(1.0, n.Erf(n.Div(c, 2**0.5)))))(n.map()))
    case(
        "tanh_gelu",
        13,
        lambda n: (
            lambda c: n.Mul(
                n.Mul(c, 0.5), n.Add(1.0, n.Tanh(n.Mul(0.7978846, n.Add(c, n.Mul(0.044715, n.Pow(c, 3.0))))))
            )
        )(n.map()),
    )
    case("softplus_mish", 13, lambda n: (lambda c: n.Mul(c, n.Tanh(n.Softplus(c))))(n.map()))
    for name, shape in [
        ("one", [1]),
        ("channels", [3, 1, 1]),
        ("map", [3, 5, 4]),
        ("columns", [4]),
        ("four", [1, 3, 1, 1]),
    ]:
        single(f"prelu_{name}", "PRelu", 9, [lambda n, shape=shape: n.weights(*shape)])
    single("prelu_7", "PRelu", 7, [lambda n: n.weights(3, 1, 1)])
    case("prelu_between", 16, lambda n: n.conv(n.PRelu(n.map(), n.weights(3, 1, 1)), 3, 3, (3, 2)))
    # Bounds.
    single("clip_6", "Clip", 6, min=-0.5, max=0.7)
    single("clip_6_min", "Clip", 6, min=-0.5)
    single("clip_6_max", "Clip", 6, max=0.7)
    single("clip_6_none", "Clip", 6)
    number = lambda value: lambda n: n.constant(value)
    single("clip_13", "Clip", 13, [number(-0.5), number(0.7)])
    single("clip_11", "Clip", 11, [number(0.0), number(6.0)])
    single("clip_13_min", "Clip", 13, [number(-0.5)])
    single("clip_13_max", "Clip", 13, [None, number(0.7)])
    single("clip_13_none", "Clip", 13)
    # The lower bound is above the upper one: the upper one wins.
    single("clip_13_crossed", "Clip", 13, [number(0.7), number(-0.5)])
    case("clip_between", 13, lambda n: n.conv(n.Clip(n.map(of=n.Clip(n.x, -1.0, 1.5)), 0.1, None), 3, 3))
    case("clip_clip", 13, lambda n: n.Clip(n.Clip(n.map(), -0.5, 0.9), 0.0, 0.5))
    case("relu_clip", 13, lambda n: n.Clip(n.Relu(n.map()), None, 0.5))
    single("dropout_ratio", "Dropout", 13, [number(0.5)])
    single("dropout_inference", "Dropout", 13, [number(0.5), lambda n: n.constant(False, np.bool_)])
    for to, name in [
        (INT32, "int32"),
        (INT64, "int64"),
        (BOOL, "bool"),
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.DOUBLE, "double"),
        (UINT8, "uint8"),
        (INT8, "int8"),
        (TensorProto.BFLOAT16, "bfloat16"),
    ]:

        def build(n, to=to, name=name):
            value = n.Mul(n.map(), n.constant(0.5 if name == "bool" else 7.3))
            if name == "uint8":
                value = n.Abs(value)
            if name == "bool":
                value = n.Floor(value)
            return n.cast(n.cast(value, to))

        case(f"cast_{name}", 13, build)
    case("cast_like", 15, lambda n: n.cast(n.CastLike(n.Mul(n.map(), 9.7), [1])))


def logic():
    compare = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]
    for op in compare:
        opset = 16 if "Or" in op else 13
        steps = lambda n: n.Round(n.Mul(n.map(), 2.0))
        for order in ("first", "second"):

            def build(n, op=op, order=order, steps=steps):
                constant = n.constant([-1.0, 0.0, 1.0, 2.0])
                pair = (constant, steps(n)) if order == "first" else (steps(n), constant)
                return n.cast(n.node(op, *pair))

            case(f"{op.lower()}_{order}", opset, build)
        case(f"{op.lower()}_of_two", opset, lambda n, op=op, steps=steps: n.cast(n.node(op, steps(n), steps(n))))
        case(
            f"{op.lower()}_of_ints",
            opset,
            lambda n, op=op, steps=steps: n.cast(n.node(op, n.cast(steps(n), INT64), n.constant(1, np.int64))),
        )
    for op in ("And", "Or", "Xor"):
        case(f"{op.lower()}", 13, lambda n, op=op: n.cast(n.node(op, n.Greater(n.map(), 0.1), n.Less(n.map(), 0.2))))
        case(
            f"{op.lower()}_constant",
            13,
            lambda n, op=op: n.cast(n.node(op, n.constant([True, False, True, False], np.bool_), n.Less(n.map(), 0.2))),
        )
    condition = lambda n: n.Greater(n.map(), 0.1)
    case("where", 9, lambda n: n.Where(condition(n), n.map(), n.map()))
    case("where_16", 16, lambda n: n.Where(condition(n), n.map(), n.map()))
    case("where_numbers", 9, lambda n: n.Where(condition(n), 1.5, -0.5))
    case("where_broadcast", 9, lambda n: n.Where(condition(n), n.weights(4), n.weights(3, 1, 1)))
    case(
        "where_constant_condition",
        9,
        lambda n: n.Where(n.constant([[True], [False], [True], [True], [False]], np.bool_), n.map(), n.weights(4)),
    )
    case("where_broadcast_condition", 9, lambda n: n.Where(n.Less(n.GlobalAveragePool(n.map()), 0.1), n.map(), 0.25))
    case("where_relu", 9, lambda n: (lambda c: n.conv(n.Where(n.Greater(c, 0.0), c, 0.0), 3, 3))(n.map()))


def reductions():
    ops = [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ]
    for op in ops:
        name = op.lower().replace("reduce", "reduce_")
        source = lambda n, op=op: n.Abs(n.map()) if op == "ReduceLogSum" else n.map()
        old = 11
        single(f"{name}_all", op, old, of=source)
        single(f"{name}_all_away", op, old, of=source, keepdims=0)
        single(f"{name}_columns", op, old, of=source, axes=[-1])
        single(f"{name}_channels", op, old, of=source, axes=[1], keepdims=0)
        single(f"{name}_pixels", op, old, of=source, axes=[2, 3], keepdims=1)
        single(f"{name}_pixels_away", op, old, of=source, axes=[-1, -2], keepdims=0)
        new = 13 if op == "ReduceSum" else 18
        single(f"{name}_{new}_rows", op, new, [lambda n: n.ints(2)], of=source, keepdims=0)
        single(f"{name}_{new}_negative", op, new, [lambda n: n.ints(-3, -1)], of=source)
        single(f"{name}_{new}_all", op, new, of=source)
        single(f"{name}_{new}_nothing", op, new, of=source, noop_with_empty_axes=1)
        case(
            f"{name}_between",
            old,
            lambda n, op=op, source=source: n.conv(
                n.node(op, source(n), axes=[3]) if op != "ReduceSum" else n.node(op, source(n), axes=[3]), 3, 4
            ),
        )
    case("reduce_mean_of_input", 13, lambda n: n.map(of=n.Sub(n.x, n.ReduceMean(n.x, axes=[1]))))
    case(
        "reduce_mean_variance",
        13,
        lambda n: (lambda d: n.ReduceMean(n.Mul(d, d), axes=[2, 3]))(
            (lambda m: n.Sub(m, n.ReduceMean(m, axes=[2, 3])))(n.map())
        ),
    )
    case("reduce_logsumexp_of_large_values", 13, lambda n: n.ReduceLogSumExp(n.Mul(n.map(), 100.0), axes=[1]))
    for op in ("ArgMax", "ArgMin"):
        name = op.lower()
        for suffix, attributes in {
            "_away": {"keepdims": 0, "axis": 1},
            "_negative": {"axis": -1},
            "_rows": {"axis": 2, "keepdims": 0},
        }.items():
            case(
                f"{name}{suffix}", 13, lambda n, op=op, attributes=attributes: n.cast(n.node(op, n.map(), **attributes))
            )
        # Equal values: the first or the last of them.
        for last in (0, 1):
            case(
                f"{name}_equal_{last}",
                12,
                lambda n, op=op, last=last: n.cast(n.node(op, n.Round(n.map()), axis=3, select_last_index=last)),
            )


def norms():
    for name, opset, op in [("softmax", 11, "Softmax"), ("log_softmax", 11, "LogSoftmax"), ("hardmax", 11, "Hardmax")]:
        for axis in (None, 1, 2, 3, -1, 0):
            single(f"{name}_{opset}_{axis}".replace("-", "minus_"), op, opset, axis=axis)
        for axis in (None, 1, 2, -1, -3):
            single(f"{name}_13_{axis}".replace("-", "minus_"), op, 13, axis=axis)
        for opset in (11, 13):
            single(f"{name}_{opset}_row", op, opset, of=lambda n: n.row(6))
        single(f"{name}_large", op, 13, of=lambda n: n.Mul(n.row(6), 15.0))
    case("hardmax_equal", 13, lambda n: n.Hardmax(n.Round(n.map())))
    vectors = lambda n, count=3: [
        n.weights(count, low=0.5, high=1.5),
        n.weights(count),
        n.weights(count),
        n.weights(count, low=0.5, high=1.5),
    ]
    for opset in (7, 9, 14, 15):
        case(f"batch_normalization_{opset}", opset, lambda n: n.BatchNormalization(n.map(), *vectors(n)))
    case("batch_normalization_epsilon", 13, lambda n: n.BatchNormalization(n.map(), *vectors(n), epsilon=0.3))
    case("batch_normalization_before", 13, lambda n: n.map(of=n.BatchNormalization(n.x, *vectors(n))))
    case(
        "batch_normalization_before_padded",
        13,
        lambda n: n.conv(n.BatchNormalization(n.map(), *vectors(n)), 3, 3, (3, 3), pads=[1, 1, 1, 1]),
    )
    case(
        "batch_normalization_between",
        13,
        lambda n: n.conv(
            n.BatchNormalization(n.conv(n.map(4), 4, 4, (3, 3), groups=4, pads=[1, 1, 1, 1]), *vectors(n, 4)),
            4,
            2,
            (2, 2),
            strides=[2, 2],
        ),
    )
    case("batch_normalization_of_row", 13, lambda n: n.BatchNormalization(n.row(6), *vectors(n, 6)))
    case(
        "batch_normalization_of_transposed",
        13,
        lambda n: n.BatchNormalization(n.ConvTranspose(n.map(), n.weights(3, 2, 2, 2), strides=[1, 2]), *vectors(n, 2)),
    )
    case(
        "batch_normalization_relu_twice",
        13,
        lambda n: n.Relu(n.BatchNormalization(n.Relu(n.BatchNormalization(n.map(), *vectors(n))), *vectors(n))),
    )
    scale_shift = lambda n, count: [n.weights(count, low=0.5, high=1.5), n.weights(count)]
    case("instance_normalization", 6, lambda n: n.InstanceNormalization(n.map(), *scale_shift(n, 3)))
    case(
        "instance_normalization_epsilon",
        22,
        lambda n: n.InstanceNormalization(n.map(), *scale_shift(n, 3), epsilon=0.3),
    )
    case(
        "instance_normalization_between",
        6,
        lambda n: n.conv(n.Relu(n.InstanceNormalization(n.map(), *scale_shift(n, 3))), 3, 3, (3, 3), pads=[1, 1, 1, 1]),
    )
    for name, groups, epsilon in (("", 2, 0.01), ("_each", 4, None), ("_one", 1, None)):
        case(
            f"group_normalization_21{name}",
            21,
            lambda n, groups=groups, epsilon=epsilon: n.GroupNormalization(
                n.map(4), *scale_shift(n, 4), num_groups=groups, epsilon=epsilon
            ),
        )

        def repeated(n, groups=groups, epsilon=epsilon):
            # Scale and shift were those of the groups.
            m = n.map(4)
            each = [
                n.Reshape(n.Expand(n.Unsqueeze(v, [1]), n.ints(groups, 4 // groups)), [4])
                for v in scale_shift(n, groups)
            ]
            return n.GroupNormalization(m, *each, num_groups=groups, epsilon=epsilon)

        case(
            f"group_normalization_18{name}",
            18,
            lambda n, groups=groups, epsilon=epsilon: n.GroupNormalization(
                n.map(4), *scale_shift(n, groups), num_groups=groups, epsilon=epsilon
            ),
            equal=repeated,
        )
    for axis, shape in ((None, [4]), (-1, [4]), (3, [4]), (2, [5, 4]), (-2, [5, 4]), (1, [3, 5, 4]), (-3, [3, 5, 4])):
        name = f"layer_normalization_{axis}".replace("-", "minus_")
        case(
            name,
            17,
            lambda n, axis=axis, shape=shape: n.LayerNormalization(
                n.map(), n.weights(*shape, low=0.5, high=1.5), n.weights(*shape), axis=axis
            ),
        )
    case(
        "layer_normalization_no_bias",
        17,
        lambda n: n.LayerNormalization(n.map(), n.weights(4, low=0.5, high=1.5), epsilon=0.2),
    )
    case(
        "layer_normalization_channels_last",
        17,
        lambda n: n.Transpose(
            n.LayerNormalization(n.Transpose(n.map(), perm=[0, 2, 3, 1]), n.weights(3), n.weights(3), axis=-1),
            perm=[0, 3, 1, 2],
        ),
    )
    for axis in (None, 1, 2, -2):
        for p in (None, 1, 2):
            single(f"lp_normalization_{axis}_{p}".replace("-", "minus_"), "LpNormalization", 1, axis=axis, p=p)
    case(
        "lp_normalization_of_zeros",
        22,
        lambda n: n.LpNormalization(n.Relu(n.Sub(n.map(), n.constant([[[-9.0]], [[9.0]], [[0.0]]]))), axis=-1),
    )
    single("mean_variance_normalization", "MeanVarianceNormalization", 13)
    single("mean_variance_normalization_axes", "MeanVarianceNormalization", 13, axes=[1])
    single("mean_variance_normalization_three", "MeanVarianceNormalization", 9, axes=[1, 2, 3])
    for size, attributes in (
        (1, {}),
        (3, {"alpha": 0.3, "beta": 0.5, "bias": 2.0}),
        (5, {"alpha": 0.1}),
        (2, {"alpha": 0.2}),
        (4, {"alpha": 0.5}),
    ):

        def formula(n, m, size=size, alpha=0.0001, beta=0.75, bias=1.0):
            square = n.Reshape(n.Mul(m, m), [1, 1, 6, 20])
            mean = n.AveragePool(
                square, kernel_shape=[size, 1], pads=[(size - 1) // 2, 0, size // 2, 0], count_include_pad=1
            )
            sums = n.Add(n.Mul(n.Reshape(mean, [1, 6, 5, 4]), n.constant(alpha)), n.constant(bias))
            return n.Div(m, n.Pow(sums, n.constant(beta)))

        single(
            f"lrn_{size}",
            "LRN",
            13,
            of=lambda n: n.map(6),
            size=size,
            equal=None
            if size % 2
            else (lambda n, m, formula=formula, attributes=attributes: formula(n, m, **attributes)),
            **attributes,
        )
