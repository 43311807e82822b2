"""Quantised values."""

import numpy as np
from network import INT32, INT8, case


def quantised():
    scale = lambda n, count=None: n.constant(
        np.round(n.random.uniform(0.02, 0.05, [] if count is None else [count]), 3)
    )
    zero = lambda n, dtype, value=0: n.constant(value, dtype)

    for dtype, name, point in ((np.uint8, "uint8", 120), (np.int8, "int8", -7)):
        both = lambda n, value, dtype, point: (lambda s, z: n.DequantizeLinear(n.QuantizeLinear(value, s, z), s, z))(
            scale(n), zero(n, dtype, point)
        )
        case(f"quantize_{name}", 10, lambda n, dtype=dtype, point=point, both=both: both(n, n.map(), dtype, point))
        case(
            f"quantize_{name}_saturated",
            13,
            lambda n, dtype=dtype, point=point, both=both: both(n, n.Mul(n.map(), 9.0), dtype, point),
        )
        case(
            f"quantize_{name}_values",
            13,
            lambda n, dtype=dtype, point=point: n.cast(n.QuantizeLinear(n.map(), scale(n), zero(n, dtype, point))),
        )
        case(
            f"quantize_{name}_around",
            13,
            lambda n, dtype=dtype, point=point, both=both: both(
                n, n.conv(both(n, n.map(of=both(n, n.x, dtype, point)), dtype, point), 3, 3, (2, 2)), dtype, point
            ),
        )
        case(
            f"quantize_{name}_channels",
            13,
            lambda n, dtype=dtype: (
                lambda s, z: n.DequantizeLinear(n.QuantizeLinear(n.map(), s, z, axis=1), s, z, axis=1)
            )(scale(n, 3), n.constant([3, 5, 9], dtype)),
        )
        case(
            f"quantize_{name}_channels_default",
            13,
            lambda n, dtype=dtype: (lambda s, z: n.DequantizeLinear(n.QuantizeLinear(n.map(), s, z), s, z))(
                scale(n, 3), n.constant([3, 5, 9], dtype)
            ),
        )
        case(
            f"dequantize_{name}_weights",
            13,
            lambda n, dtype=dtype: n.Conv(
                n.map(),
                n.DequantizeLinear(
                    n.constant(n.random.randint(0, 100, [4, 3, 2, 2]), dtype),
                    scale(n, 4),
                    n.constant([1, 9, 20, 40], dtype),
                    axis=0,
                ),
            ),
        )
        case(
            f"dequantize_{name}_weights_one",
            10,
            lambda n, dtype=dtype: n.Conv(
                n.map(),
                n.DequantizeLinear(
                    n.constant(n.random.randint(0, 100, [4, 3, 2, 2]), dtype), scale(n), zero(n, dtype, 50)
                ),
            ),
        )
    case("quantize_no_zero_point", 13, lambda n: n.cast(n.QuantizeLinear(n.Abs(n.map()), scale(n))))
    case(
        "quantize_halves",
        13,
        lambda n: n.cast(
            n.QuantizeLinear(
                n.Add(n.Mul(n.row(6), 0.0), n.constant([0.25, 0.75, 1.25, 1.75, 2.25, -0.75])), 0.5, zero(n, np.int8)
            )
        ),
    )
    case("dequantize_int32", 13, lambda n: n.DequantizeLinear(n.cast(n.Mul(n.map(), 50.0), INT32), 0.02))
    case("dequantize_no_zero_point", 13, lambda n: n.DequantizeLinear(n.cast(n.Mul(n.map(), 9.0), INT8), 0.02))
    case(
        "dequantize_bias",
        13,
        lambda n: n.Conv(n.map(), n.weights(2, 3, 2, 2), n.DequantizeLinear(n.constant([100, -50], np.int32), 0.01)),
    )
    case(
        "dynamic_quantize",
        11,
        lambda n: (lambda q: n.DequantizeLinear(*q))(n.DynamicQuantizeLinear(n.map(), outputs=3)),
    )
    case(
        "dynamic_quantize_positive",
        11,
        lambda n: (lambda q: n.DequantizeLinear(*q))(n.DynamicQuantizeLinear(n.Add(n.Abs(n.map()), 1.0), outputs=3)),
    )
    case("dynamic_quantize_values", 11, lambda n: n.cast(n.DynamicQuantizeLinear(n.map(), outputs=3)[0]))
    case(
        "dynamic_quantize_point", 11, lambda n: n.Add(n.row(6), n.cast(n.DynamicQuantizeLinear(n.map(), outputs=3)[2]))
    )

    def qlinear_conv(
        name,
        x=np.uint8,
        w=np.int8,
        y=np.uint8,
        channels=False,
        bias=False,
        inside=3,
        outside=4,
        kernel=(2, 2),
        groups=1,
        points=(120, 0, 110),
        opset=10,
        **attributes,
    ):
        def build(n):
            xs, xz = scale(n), zero(n, x, points[0])
            value = n.QuantizeLinear(n.map(inside), xs, xz)
            low, high = (0, 200) if w == np.uint8 else (-90, 90)
            weight = n.constant(n.random.randint(low, high, [outside, inside // groups, *kernel]), w)
            ws = scale(n, outside if channels else None)
            wz = n.constant([points[1]] * outside if channels else points[1], w)
            ys, yz = 0.11, zero(n, y, points[2])
            inputs = [value, xs, xz, weight, ws, wz, ys, yz]
            if bias:
                inputs.append(n.constant(n.random.randint(-3000, 3000, [outside]), np.int32))
            more = dict(attributes, group=groups) if groups > 1 else attributes
            return n.DequantizeLinear(n.QLinearConv(*inputs, **more), ys, yz)

        case(f"qlinear_conv{name}", opset, build)

    qlinear_conv("")
    qlinear_conv("_uint8_weights", w=np.uint8, points=(120, 100, 110))
    qlinear_conv("_int8", x=np.int8, y=np.int8, points=(-5, 0, 3))
    qlinear_conv("_bias", bias=True)
    qlinear_conv("_channels", channels=True)
    qlinear_conv("_channels_bias", channels=True, bias=True)
    qlinear_conv("_pads", pads=[1, 0, 1, 1], bias=True)
    qlinear_conv("_strides", kernel=(3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    qlinear_conv("_depthwise", inside=4, outside=4, groups=4, kernel=(3, 3), pads=[1, 1, 1, 1], channels=True)
    qlinear_conv("_groups", inside=4, outside=6, groups=2)
    qlinear_conv("_pointwise", kernel=(1, 1), bias=True)
    qlinear_conv("_pointwise_channels", kernel=(1, 1), bias=True, channels=True)

    for name, a, b, points in (
        ("", np.uint8, np.int8, (120, 0, 115)),
        ("_uint8", np.uint8, np.uint8, (110, 99, 120)),
        ("_int8", np.int8, np.int8, (4, 0, -9)),
    ):

        def build(n, a=a, b=b, points=points):
            ps, pz = scale(n), zero(n, a, points[0])
            value = n.QuantizeLinear(n.row(6), ps, pz)
            low, high = (0, 200) if b == np.uint8 else (-90, 90)
            y = np.uint8 if a == np.uint8 else np.int8
            ys, yz = 0.09, zero(n, y, points[2])
            return n.DequantizeLinear(
                n.QLinearMatMul(
                    value,
                    ps,
                    pz,
                    n.constant(n.random.randint(low, high, [6, 5]), b),
                    scale(n),
                    zero(n, b, points[1]),
                    ys,
                    yz,
                ),
                ys,
                yz,
            )

        case(f"qlinear_matmul{name}", 10, build)

    def of_map(n):
        ps, pz = scale(n), zero(n, np.uint8, 120)
        value = n.QuantizeLinear(n.map(), ps, pz)
        ys, yz = 0.09, zero(n, np.uint8, 100)
        return n.DequantizeLinear(
            n.QLinearMatMul(
                value,
                ps,
                pz,
                n.constant(n.random.randint(-90, 90, [4, 3]), np.int8),
                scale(n),
                zero(n, np.int8),
                ys,
                yz,
            ),
            ys,
            yz,
        )

    case("qlinear_matmul_map", 10, of_map)

    def integer(name, op, shape, a=np.uint8, b=np.int8, points=(None, None), of="map", **attributes):
        def build(n):
            value = n.QuantizeLinear(
                n.map() if of == "map" else n.row(6), scale(n), zero(n, a, 100 if a == np.uint8 else 3)
            )
            low, high = (0, 200) if b == np.uint8 else (-90, 90)
            more = [None if p is None else n.constant(p, t) for p, t in zip(points, (a, b))]
            while more and more[-1] is None:
                more.pop()
            return n.Mul(
                n.cast(n.node(op, value, n.constant(n.random.randint(low, high, shape), b), *more, **attributes)), 0.001
            )

        case(name, 10, build)

    integer("conv_integer", "ConvInteger", [4, 3, 2, 2], b=np.uint8)
    integer("conv_integer_points", "ConvInteger", [4, 3, 2, 2], b=np.uint8, points=(100, 90))
    integer(
        "conv_integer_pads",
        "ConvInteger",
        [4, 3, 2, 2],
        b=np.uint8,
        points=(100, None),
        pads=[1, 1, 0, 1],
        strides=[2, 1],
    )
    integer("conv_integer_int8", "ConvInteger", [4, 3, 2, 2], points=(100, None))
    integer("conv_integer_weights_point", "ConvInteger", [4, 3, 2, 2], b=np.uint8, points=(None, 90))
    case(
        "sub_from_conv_integer",
        13,
        lambda n: n.cast(
            n.Sub(
                n.constant([[[900]], [[-70]]], np.int32),
                n.ConvInteger(
                    n.QuantizeLinear(n.map(), scale(n), zero(n, np.uint8, 100)),
                    n.constant(n.random.randint(0, 9, [2, 3, 2, 2]), np.uint8),
                ),
            )
        ),
    )
    integer("matmul_integer", "MatMulInteger", [6, 5], of="row")
    integer("matmul_integer_points", "MatMulInteger", [6, 5], of="row", points=(100, 3))
    integer("matmul_integer_int8", "MatMulInteger", [6, 5], a=np.int8, of="row", points=(2, None))
    integer("matmul_integer_columns", "MatMulInteger", [6, 5], of="row", points=(100, [1, 2, 3, 4, 5]))
    integer("matmul_integer_map", "MatMulInteger", [4, 3], points=(100, None))

    def dynamic(n):
        # A linear layer as onnxruntime quantises it.
        q = n.DynamicQuantizeLinear(n.row(6), outputs=3)
        product = n.cast(
            n.MatMulInteger(q[0], n.constant(n.random.randint(-90, 90, [6, 5]), np.int8), q[2], zero(n, np.int8))
        )
        return n.Add(n.Mul(product, n.Mul(q[1], 0.02)), n.weights(5))

    case("dynamic_quantized_layer", 11, dynamic)
