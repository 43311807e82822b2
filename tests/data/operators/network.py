"""Networks of a few nodes, as ONNX models; the cases are in the list CASES."""

import zlib

import numpy as np
from evaluators import SIDE, by_reference, by_runtime
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, INT32, INT8, UINT8, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.BOOL,
)
# Outputs of more values are mixed into eight.
MOST = 64


class Net:
    """A network that is being built. Values are names."""

    def __init__(self, name, opset):
        self.name, self.opset = name, opset
        self.random = np.random.RandomState(zlib.crc32(name.encode()))
        self.nodes, self.initializers, self.count = [], [], 0
        self.x = "x"

    def fresh(self, kind):
        self.count += 1
        return f"{kind}{self.count}"

    def constant(self, values, dtype=np.float32):
        name = self.fresh("c")
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def ints(self, *values):
        return self.constant(list(values), np.int64)

    def given(self, value):
        if value is None or isinstance(value, str):
            return value
        whole = isinstance(value, list) and all(isinstance(number, int) for number in value)
        return self.constant(value, np.int64 if whole else np.float32)

    def weights(self, *shape, low=-1.0, high=1.0):
        # Few bits, which take less room in the archive.
        return self.constant(np.round(self.random.uniform(low, high, shape) * 32) / 32)

    def __getattr__(self, op):
        """`n.Add(a, 0.5)` is `n.node("Add", a, 0.5)`."""
        if not op[0].isupper():
            raise AttributeError(op)
        return lambda *inputs, **attributes: self.node(op, *inputs, **attributes)

    def node(self, op, *inputs, outputs=1, **attributes):
        """A node; numbers among its inputs become constants."""
        inputs = [self.given(value) for value in inputs]
        names = [self.fresh(op.lower()[:4]) for _ in range(outputs)]
        attributes = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, [name or "" for name in inputs], names, **attributes))
        return names[0] if outputs == 1 else names

    def cast(self, value, to=FLOAT):
        return self.node("Cast", value, to=to)

    def conv(self, value, inside, outside, kernel=(1, 1), groups=1, bias=True, **attributes):
        weight = self.weights(outside, inside // groups, *kernel)
        inputs = [value, weight] + ([self.weights(outside)] if bias else [])
        return self.node("Conv", *inputs, group=None if groups == 1 else groups, **attributes)

    def map(self, channels=3, of=None):
        """A convolution to [1, channels, 5, 4]."""
        return self.conv(of or self.x, 3, channels, (2, 2), strides=[7, 9])

    def row(self, length=6, of=None):
        """[1, length]."""
        mean = self.node("GlobalAveragePool", self.map(3, of))
        weights = self.weights(3, length, low=-3, high=3)
        return self.node("Gemm", self.node("Flatten", mean), weights, self.weights(length))

    def model(self, output, shape=None):
        value = helper.make_tensor_value_info(output, FLOAT, shape)
        image = helper.make_tensor_value_info("x", FLOAT, [1, 3, SIDE, SIDE])
        graph = helper.make_graph(self.nodes, "g", [image], [value], self.initializers)
        ir = (
            8
            if self.opset <= 18
            else helper.find_min_ir_version_for([helper.make_opsetid("", self.opset)], ignore_unknown=True)
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=min(ir, 10))

    def finish(self, value, shape=None):
        """The model with a row of values as its output, and the shape of `value` if it is to be found."""
        if shape is None:
            found = by_runtime(self.model(value))
            shape = (by_reference(self.model(value)) if isinstance(found, Exception) else found).shape
        count = int(np.prod(shape))
        if len(shape) != 2 or shape[0] != 1:
            flat = len(shape) > 1 and shape[0] == 1
            value = self.node("Flatten", value) if flat else self.node("Reshape", value, self.ints(1, -1))
        if count > MOST:
            value, count = self.node("MatMul", value, self.weights(count, 8)), 8
        return self.model(value, [1, count]), shape


CASES = {}


def case(name, opset, build, equal=None):
    """`build` adds the nodes to a network and returns its last value. If no evaluator knows the operator in this operator
    set, `equal` does the same with others, of a later one."""
    assert name not in CASES, name
    CASES[name] = (opset, build, equal)


def single(name, op, opset, inputs=(), of=lambda n: n.map(), equal=None, **attributes):
    """One operator after a convolution; `inputs` makes its other inputs. `equal` replaces it as in `case`."""
    build = lambda n: n.node(op, of(n), *[None if make is None else make(n) for make in inputs], **attributes)
    case(name, opset, build, equal and (lambda n: equal(n, of(n))))
