"""Sums and products of values and constants, matrices, and values computed from shapes."""

import numpy as np
from network import FLOAT, INT32, INT64, UINT8, case
from onnx import helper, numpy_helper


def sums():
    values = {
        "Add": (-1, 1),
        "Sub": (-1, 1),
        "Mul": (-1, 1),
        "Div": (0.5, 2),
        "Pow": (1, 3),
        "Max": (-1, 1),
        "Min": (-1, 1),
        "Sum": (-1, 1),
        "Mean": (-1, 1),
    }
    shapes = {
        "number": [],
        "one": [1],
        "channels": [3, 1, 1],
        "four": [1, 3, 1, 1],
        "columns": [4],
        "pixels": [5, 4],
        "map": [1, 3, 5, 4],
        "more": [1, 1, 3, 1, 1],
    }
    for op, (low, high) in values.items():
        for name, shape in shapes.items():
            if op in ("Max", "Min", "Sum", "Mean") and name in ("one", "four", "pixels", "more"):
                continue
            for order in ("first", "second"):

                def build(n, op=op, low=low, high=high, shape=shape, order=order, name=name):
                    value = n.map()
                    if op == "Pow" or (op == "Div" and order == "first"):
                        # Away from zero and from the negative numbers.
                        value = n.Add(n.Abs(value), 0.5)
                        value = n.conv(value, 3, 3, bias=False) if op in ("Div",) else value
                    constant = n.weights(*shape, low=low, high=high)
                    pair = (constant, value) if order == "first" else (value, constant)
                    return n.node(op, *pair)

                case(f"{op.lower()}_{name}_{order}", 13, build)
    for op, (low, high) in list(values.items())[:4]:
        for order in ("first", "second"):

            def pair(n, op, order, value, *shape, low=low, high=high):
                constant = n.weights(*shape, low=low, high=high)
                return n.node(op, constant, value) if order == "first" else n.node(op, value, constant)

            def around(n, op=op, order=order, pair=pair):
                before = n.x
                if not (op == "Div" and order == "first"):
                    before = pair(n, op, order, n.x, 3, 1, 1)
                middle = pair(n, op, order, n.map(4, of=before), 4, 1, 1)
                return n.conv(middle, 4, 3, (3, 2))

            def depthwise(n, op=op, order=order, pair=pair):
                return pair(n, op, order, n.conv(n.map(4), 4, 4, (3, 3), groups=4, pads=[1, 1, 1, 1]), 4, 1, 1)

            def grouped(n, op=op, order=order, pair=pair):
                return pair(n, op, order, n.conv(n.map(4), 4, 6, (3, 3), groups=2, pads=[0, 1, 1, 0]), 1, 6, 1, 1)

            def middle(n, op=op, order=order, pair=pair):
                return n.conv(pair(n, op, order, n.map(4)), 4, 3, (3, 2))

            def row(n, op=op, order=order, pair=pair):
                return pair(n, op, order, n.row(6), 6)

            def row_between(n, op=op, order=order, pair=pair):
                return n.Gemm(pair(n, op, order, n.row(6), 1, 6), n.weights(6, 4), n.weights(4))

            def twice(n, op=op, order=order, pair=pair):
                return pair(n, op, order, pair(n, op, order, n.map(3), 3, 1, 1), 1, 3, 1, 1)

            def computed(n, op=op, order=order):
                # A constant that is computed from others.
                c = n.Unsqueeze(n.Abs(n.weights(3, low=1, high=2)), [1, 2])
                return n.node(op, c, n.map(3)) if order == "first" else n.node(op, n.map(3), c)

            def transposed(n, op=op, order=order, pair=pair):
                value = n.ConvTranspose(n.map(3), n.weights(3, 2, 2, 2), n.weights(2), strides=[2, 2])
                return pair(n, op, order, value, 2, 1, 1)

            def matrix(n, op=op, order=order, pair=pair):
                value = n.MatMul(n.Reshape(n.map(3), [1, 3, 20]), n.weights(20, 5))
                return pair(n, op, order, value, 5)

            for build in (around, depthwise, grouped, middle, row, row_between, twice, computed, transposed, matrix):
                case(f"{op.lower()}_{build.__name__}_{order}", 13, build)
    for op in values:
        positive = lambda n, value, op=op: n.Add(n.Abs(value), 0.5) if op in ("Div", "Pow") else value
        if op != "Pow":
            case(
                f"{op.lower()}_of_two",
                13,
                lambda n, op=op, positive=positive: n.node(op, n.map(), positive(n, n.map())),
            )
        case(
            f"{op.lower()}_with_mean",
            13,
            lambda n, op=op, positive=positive: (lambda m: n.node(op, m, positive(n, n.GlobalAveragePool(m))))(
                positive(n, n.map())
            ),
        )
        case(
            f"{op.lower()}_mean_with",
            13,
            lambda n, op=op, positive=positive: (lambda m: n.node(op, n.GlobalAveragePool(m), positive(n, m)))(
                positive(n, n.map())
            ),
        )
    for op in ("Max", "Min", "Sum", "Mean"):
        case(f"{op.lower()}_one", 8, lambda n, op=op: n.node(op, n.map()))
        case(f"{op.lower()}_three", 13, lambda n, op=op: n.node(op, n.map(), n.weights(3, 1, 1), n.map()))
        case(
            f"{op.lower()}_three_broadcast",
            8,
            lambda n, op=op: n.node(op, n.weights(4), n.weights(5, 1), n.GlobalAveragePool(n.map())),
        )
        case(f"{op.lower()}_four", 6, lambda n, op=op: n.node(op, n.map(), n.map(), n.map(), n.map()))
    # One operator set with attributes for the broadcasting.
    for op, (low, high) in list(values.items())[:5]:
        case(
            f"{op.lower()}_6_axis",
            6,
            lambda n, op=op, low=low, high=high: n.node(
                op, n.Abs(n.map()), n.weights(3, low=low, high=high), broadcast=1, axis=1
            ),
            equal=lambda n, op=op, low=low, high=high: n.node(
                op, n.Abs(n.map()), n.Unsqueeze(n.weights(3, low=low, high=high), [1, 2])
            ),
        )
        case(
            f"{op.lower()}_6_same",
            6,
            lambda n, op=op, low=low, high=high: n.node(op, n.Abs(n.map()), n.weights(1, 3, 5, 4, low=low, high=high)),
        )
    for exponent in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
        name = str(exponent).replace("-", "minus_").replace(".", "_")
        case(f"pow_{name}", 13, lambda n, exponent=exponent: n.Pow(n.Add(n.Abs(n.map()), 0.5), n.constant(exponent)))
    for exponent in (2.0, 3.0):
        case(f"pow_{int(exponent)}_of_negative", 13, lambda n, exponent=exponent: n.Pow(n.map(), n.constant(exponent)))
    case("pow_int_exponent", 13, lambda n: n.Pow(n.map(), [3]))
    case("pow_int32_exponent", 13, lambda n: n.Pow(n.map(), n.constant(2, np.int32)))
    case("pow_of_ints", 13, lambda n: n.cast(n.Pow(n.cast(n.Mul(n.map(), 3.0), INT32), n.constant(2, np.int32))))
    case("pow_of_number", 13, lambda n: n.Pow(2.0, n.map()))
    ints = lambda n, scale=7.3: n.cast(n.Mul(n.map(), n.constant(scale)), INT32)
    case("div_of_ints", 13, lambda n: n.cast(n.Div(ints(n), n.constant(3, np.int32))))
    case(
        "div_of_ints_constant_first",
        13,
        lambda n: n.cast(n.Div(n.constant(100, np.int32), n.Add(n.Abs(ints(n)), n.constant(1, np.int32)))),
    )
    case("sub_of_ints_constant_first", 13, lambda n: n.cast(n.Sub(n.constant(100, np.int32), ints(n))))
    case(
        "sub_of_uint8_constant_first",
        14,
        lambda n: n.cast(n.Sub(n.constant(200, np.uint8), n.cast(n.Abs(ints(n)), UINT8))),
    )
    case("mul_of_ints", 13, lambda n: n.cast(n.Mul(ints(n), n.constant([1, 2, 3, 4], np.int32))))
    case("max_of_ints", 13, lambda n: n.cast(n.Max(ints(n), n.constant([1, 2, 3, 4], np.int32))))
    case("abs_of_ints", 13, lambda n: n.cast(n.Abs(ints(n))))
    case("neg_of_ints", 13, lambda n: n.cast(n.Neg(ints(n))))
    case("sign_of_ints", 13, lambda n: n.cast(n.Sign(ints(n))))
    case("clip_of_ints", 13, lambda n: n.cast(n.Clip(ints(n), n.constant(-3, np.int32), n.constant(5, np.int32))))
    case("sub_of_shape", 13, lambda n: (lambda m: n.Sub(n.cast(n.Gather(n.Shape(m), [2, 3, 2, 1])), m))(n.map()))
    case("relu_of_ints", 14, lambda n: n.cast(n.Relu(ints(n))))


def products():
    for a in (0, 1):
        for b in (0, 1):

            def build(n, a=a, b=b):
                value = n.Reshape(n.map(), [20, 3] if a else [3, 20])
                value = n.Slice(value, [0], [5], n.ints(0 if a else 1))
                weight = n.weights(6, 5) if b else n.weights(5, 6)
                return n.Gemm(value, weight, n.weights(6), transA=a, transB=b, alpha=0.7, beta=-1.3)

            case(f"gemm_{a}{b}", 13, build)
    for name, shape in (("number", []), ("one", [1]), ("row", [1, 6]), ("column", [3, 1]), ("matrix", [3, 6])):
        case(
            f"gemm_c_{name}",
            13,
            lambda n, shape=shape: n.Gemm(
                n.Flatten(n.Squeeze(n.map(), [0]), axis=1), n.weights(20, 6), n.weights(*shape)
            ),
        )
    case("gemm_of_row", 13, lambda n: n.Gemm(n.row(6), n.weights(4, 6), n.weights(4), transB=1))
    case("gemm_no_c", 11, lambda n: n.Gemm(n.row(6), n.weights(4, 6), transB=1, alpha=2.0))
    case("gemm_constant_first", 13, lambda n: n.Gemm(n.weights(4, 6), n.row(6), n.weights(4, 1), transB=1))
    case("gemm_c_of_map", 13, lambda n: n.Gemm(n.row(6), n.weights(6, 4), n.row(4), beta=0.5))
    case("gemm_7", 7, lambda n: n.Gemm(n.row(6), n.weights(6, 4), n.weights(4)))
    case(
        "gemm_gemm",
        13,
        lambda n: n.Gemm(
            n.Relu(n.Gemm(n.row(6), n.weights(5, 6), n.weights(5), transB=1)), n.weights(5, 4), n.weights(4), alpha=0.5
        ),
    )
    case("matmul_map", 13, lambda n: n.MatMul(n.map(), n.weights(4, 3)))
    case("matmul_constant_first", 13, lambda n: n.MatMul(n.weights(2, 5), n.map()))
    case("matmul_batch", 13, lambda n: n.MatMul(n.map(), n.weights(3, 4, 2)))
    case("matmul_vector", 13, lambda n: n.MatMul(n.map(), n.weights(4)))
    case("matmul_vector_first", 13, lambda n: n.MatMul(n.weights(5), n.map()))
    case("matmul_row", 13, lambda n: n.MatMul(n.row(6), n.weights(6, 4)))
    case("matmul_of_two", 13, lambda n: n.MatMul(n.map(), n.Transpose(n.map(), perm=[0, 1, 3, 2])))
    case("matmul_broadcast", 13, lambda n: n.MatMul(n.Reshape(n.map(), [3, 1, 5, 4]), n.weights(1, 2, 4, 2)))
    case("matmul_of_vector", 13, lambda n: n.MatMul(n.Squeeze(n.row(6), [0]), n.weights(6, 4)))
    case("matmul_add", 13, lambda n: n.Add(n.weights(5), n.MatMul(n.Reshape(n.map(), [1, 3, 20]), n.weights(20, 5))))

    def attention(n):
        tokens = n.Transpose(n.Reshape(n.map(4), [1, 4, 20]), perm=[0, 2, 1])
        q, k, v = (n.Add(n.MatMul(tokens, n.weights(4, 4)), n.weights(4)) for _ in range(3))
        scores = n.Softmax(n.Div(n.MatMul(q, n.Transpose(k, perm=[0, 2, 1])), 2.0), axis=-1)
        return n.Add(tokens, n.MatMul(scores, v))

    case("attention", 13, attention)


def shapes():
    case(
        "constant_kinds",
        13,
        lambda n: n.Add(n.Mul(n.map(), n.Constant(value_float=0.5)), n.Constant(value_floats=[0.1, 0.2, 0.3, 0.4])),
    )
    case("constant_ints", 13, lambda n: n.Reshape(n.map(), n.Constant(value_ints=[1, 6, 10])))
    case("constant_int", 13, lambda n: n.Add(n.map(), n.cast(n.Constant(value_int=2))))
    case(
        "constant_tensor",
        13,
        lambda n: n.Sub(
            n.Constant(value=numpy_helper.from_array(np.array([[[0.5]], [[-0.25]], [[2.0]]], np.float32))), n.map()
        ),
    )
    case("constant_double", 13, lambda n: n.Add(n.map(), n.cast(n.constant([0.1, 0.2, 0.3, 0.4], np.float64))))
    case(
        "constant_of_shape",
        13,
        lambda n: n.Add(n.map(), n.ConstantOfShape([5, 4], value=helper.make_tensor("v", FLOAT, [1], [0.3]))),
    )
    case("constant_of_shape_default", 13, lambda n: n.Concat(n.map(), n.ConstantOfShape([1, 1, 5, 4]), axis=1))
    case(
        "constant_of_shape_ints",
        13,
        lambda n: n.Tile(
            n.GlobalAveragePool(n.map()), n.ConstantOfShape([4], value=helper.make_tensor("v", INT64, [1], [2]))
        ),
    )
    case("shape", 13, lambda n: (lambda m: n.Mul(m, n.cast(n.Gather(n.Shape(m), [2, 3, 2, 1]))))(n.map()))
    case("shape_part", 15, lambda n: (lambda m: n.Mul(m, n.cast(n.Shape(m, start=-1))))(n.map()))
    case(
        "shape_slice",
        15,
        lambda n: (lambda m: n.Reshape(m, n.Concat([1], n.Shape(m, start=2, end=4), [-1], axis=0)))(n.map()),
    )
    case("size", 13, lambda n: (lambda m: n.Div(n.ReduceSum(m, [2, 3]), n.cast(n.Size(m))))(n.map()))
