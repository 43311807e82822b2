"""Convolutions and pools."""

from network import case, single


def windows():
    def conv(name, inside=3, outside=4, kernel=(3, 2), side=None, groups=1, bias=True, opset=11, **attributes):
        case(name, opset, lambda n: n.conv(n.map(inside), inside, outside, kernel, groups, bias, **attributes))

    conv("conv")
    conv("conv_no_bias", bias=False)
    conv("conv_pads", pads=[1, 0, 2, 1])
    conv("conv_strides", strides=[2, 1], pads=[1, 1, 1, 1])
    conv("conv_dilations", dilations=[2, 1])
    conv("conv_dilations_pads", kernel=(3, 3), dilations=[2, 2], pads=[2, 1, 1, 2])
    conv("conv_dilations_strides", kernel=(3, 3), dilations=[2, 2], pads=[2, 2, 2, 2], strides=[2, 2])
    conv("conv_groups", 4, 6, groups=2, pads=[1, 1, 1, 1])
    conv("conv_depthwise", 4, 4, (3, 3), groups=4, pads=[1, 1, 1, 1])
    conv("conv_depthwise_strides", 4, 4, (3, 3), groups=4, pads=[1, 1, 1, 1], strides=[2, 2])
    conv("conv_depthwise_dilations", 4, 4, (3, 3), groups=4, pads=[2, 2, 2, 2], dilations=[2, 2])
    conv("conv_depthwise_asymmetric", 4, 4, (3, 2), groups=4, pads=[2, 0, 0, 1])
    conv("conv_depthwise_multiplied", 3, 6, (3, 3), groups=3, pads=[1, 1, 1, 1])
    conv("conv_pointwise", kernel=(1, 1))
    conv("conv_pointwise_strides", kernel=(1, 1), strides=[2, 3])
    conv("conv_pointwise_pads", kernel=(1, 1), pads=[1, 0, 0, 2])
    conv("conv_pointwise_groups", 4, 6, (1, 1), groups=2)
    conv("conv_pointwise_strides_groups", 4, 4, (1, 1), groups=4, strides=[2, 2])
    conv("conv_kernel_shape", kernel_shape=[3, 2])
    conv("conv_kernel_as_map", kernel=(5, 4))
    conv("conv_one_row", kernel=(1, 3), pads=[0, 1, 0, 1])
    conv("conv_one_column", kernel=(5, 1), strides=[3, 1], pads=[2, 0, 2, 0])
    for padding in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"):
        name = padding.lower()
        conv(f"conv_{name}", auto_pad=padding)
        conv(f"conv_{name}_strides", auto_pad=padding, strides=[2, 3])
        conv(f"conv_{name}_strides_one_pixel", kernel=(1, 1), auto_pad=padding, strides=[2, 2])
        conv(f"conv_{name}_strides_small", kernel=(2, 1), auto_pad=padding, strides=[3, 2])
        conv(f"conv_{name}_dilations", kernel=(2, 2), auto_pad=padding, dilations=[2, 3])
        conv(f"conv_{name}_depthwise", 3, 3, (3, 2), groups=3, auto_pad=padding, strides=[2, 2])
        for op, attributes in (("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1})):
            kind = op.lower() + ("_counting" if attributes else "")
            for suffix, more in {
                "": {"kernel_shape": [3, 2]},
                "_strides": {"kernel_shape": [3, 2], "strides": [2, 3]},
                "_one_pixel": {"kernel_shape": [1, 1], "strides": [2, 2]},
                "_small": {"kernel_shape": [2, 1], "strides": [3, 2]},
            }.items():
                # A window of one pixel, or smaller than its stride here, needs no padding; the last one has to fit.
                valid = lambda n, m, op=op, more=more, attributes=attributes: n.node(op, m, **more, **attributes)
                single(
                    f"{kind}_{name}{suffix}",
                    op,
                    11,
                    auto_pad=padding,
                    equal=valid if "SAME" in padding and suffix in ("_one_pixel", "_small") else None,
                    **more,
                    **attributes,
                )
        if padding != "NOTSET":
            case(
                f"convtranspose_{name}",
                11,
                lambda n, padding=padding: n.ConvTranspose(
                    n.map(), n.weights(3, 2, 3, 3), strides=[2, 2], auto_pad=padding
                ),
            )
            case(
                f"convtranspose_{name}_even",
                11,
                lambda n, padding=padding: n.ConvTranspose(
                    n.map(), n.weights(3, 2, 4, 2), strides=[1, 2], auto_pad=padding
                ),
            )
    case("conv_of_dynamic_weights", 13, lambda n: n.Conv(n.map(2), n.Reshape(n.row(8), [2, 2, 2, 1]), n.weights(2)))
    case("conv_bias_computed", 13, lambda n: n.Conv(n.map(), n.weights(2, 3, 2, 2), n.Squeeze(n.row(2), [0])))
    case("conv_with_omitted_bias", 13, lambda n: n.Conv(n.map(), n.weights(2, 3, 2, 2), None))
    case("conv_weights_from_node", 13, lambda n: n.Conv(n.map(), n.Identity(n.weights(2, 3, 2, 2))))
    case(
        "conv_weights_transposed", 13, lambda n: n.Conv(n.map(), n.Transpose(n.weights(3, 2, 2, 3), perm=[3, 0, 1, 2]))
    )
    case("conv_of_row", 13, lambda n: n.conv(n.Reshape(n.map(), [1, 3, 20]), 3, 2, (3,), strides=[2]))
    case("conv_of_volume", 13, lambda n: n.conv(n.Reshape(n.map(4), [1, 2, 2, 5, 4]), 2, 2, (2, 2, 2)))
    # A stride that can be moved into what is before it.
    wide = lambda n: n.conv(n.x, 3, 3, (2, 2), strides=[3, 4])
    before = {
        "conv_same": lambda n, m: n.conv(m, 3, 3, (3, 3), auto_pad="SAME_UPPER"),
        "conv_same_lower": lambda n, m: n.conv(m, 3, 3, (3, 2), auto_pad="SAME_LOWER"),
        "conv_same_strides": lambda n, m: n.conv(m, 3, 3, (3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
        "conv_pads": lambda n, m: n.conv(m, 3, 3, (3, 3), pads=[1, 0, 1, 2]),
        "conv_dilations": lambda n, m: n.conv(m, 3, 3, (2, 2), dilations=[2, 2]),
        "depthwise_same": lambda n, m: n.conv(m, 3, 3, (3, 3), groups=3, auto_pad="SAME_UPPER"),
        "relu": lambda n, m: n.Relu(m),
        "batch_normalization": lambda n, m: n.BatchNormalization(m, *(n.weights(3, low=0.5) for _ in range(4))),
        "sum": lambda n, m: n.Add(m, n.conv(m, 3, 3)),
        "product_of_mean": lambda n, m: n.Mul(m, n.GlobalAveragePool(m)),
        "constant_of_rows": lambda n, m: n.Add(m, n.weights(11, 1)),
        "constant_first": lambda n, m: n.Sub(n.weights(3, 1, 1), m),
        "concat": lambda n, m: n.Concat(m, n.Relu(m), axis=2),
        "maxpool_same": lambda n, m: n.MaxPool(m, kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
        "averagepool_pads": lambda n, m: n.AveragePool(m, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        "slice": lambda n, m: n.Slice(m, [1, 1], [9, 8], [2, 3]),
        "slice_sigmoid": lambda n, m: n.Sigmoid(n.Slice(m, [2, 1], [11, 8], [2, 3])),
        "slice_channels": lambda n, m: n.Concat(n.Slice(m, [1], [3], [1]), n.Slice(m, [0], [1], [1]), axis=1),
        "slice_of_pool": lambda n, m: n.Slice(n.MaxPool(m, kernel_shape=[2, 2]), [1, 1], [9, 7], [2, 3]),
        "split": lambda n, m: n.Split(m, [4, 7], outputs=2, axis=2)[1],
        "gather": lambda n, m: n.Gather(m, [3, 1, 4, 5, 9, 2, 6], axis=2),
        "pad": lambda n, m: n.Pad(m, [0, 0, 1, 1, 0, 0, 2, 0]),
        "pad_edge": lambda n, m: n.Pad(m, [0, 0, 1, 1, 0, 0, 2, 0], mode="edge"),
        "transpose": lambda n, m: n.Transpose(m, perm=[0, 1, 3, 2]),
        "softmax": lambda n, m: n.Softmax(m, axis=1),
        "softmax_of_rows": lambda n, m: n.Softmax(m, axis=2),
        "reduce": lambda n, m: n.Sub(m, n.ReduceMean(m, axes=[3])),
        "instance_normalization": lambda n, m: n.InstanceNormalization(m, n.weights(3), n.weights(3)),
        "resize": lambda n, m: n.Resize(m, None, n.constant([1, 1, 2, 2]), mode="linear"),
        "transposed": lambda n, m: n.ConvTranspose(m, n.weights(3, 3, 2, 2), strides=[2, 2]),
        "where": lambda n, m: n.Where(n.Greater(m, 0.0), m, n.weights(1, 8)),
        "prelu": lambda n, m: n.PRelu(m, n.weights(3, 1, 1)),
    }
    for name, make in before.items():
        case(f"strides_after_{name}", 13, lambda n, make=make: n.conv(make(n, wide(n)), 3, 2, strides=[2, 3]))
        if name not in ("relu", "sum", "constant_first", "batch_normalization", "prelu", "where", "concat"):
            case(
                f"steps_after_{name}",
                13,
                lambda n, make=make: n.Slice(make(n, wide(n)), [1, 0], [99, 99], [2, 3], [2, 3]),
            )
    case(
        "strides_after_conv_of_input",
        13,
        lambda n: n.conv(n.conv(n.x, 3, 3, (3, 3), auto_pad="SAME_UPPER"), 3, 2, strides=[8, 8]),
    )
    case(
        "dilated_strides_after_slice",
        13,
        lambda n: n.conv(n.Slice(wide(n), [1, 1], [11, 8], [2, 3]), 3, 2, (2, 2), dilations=[2, 2], strides=[2, 2]),
    )
    case(
        "conv_conv_relu_add",
        13,
        lambda n: (lambda c: n.Relu(n.Add(n.conv(c, 3, 3, (3, 3), pads=[1, 1, 1, 1]), c)))(n.map()),
    )

    pools = {
        "": {},
        "_strides": {"strides": [2, 1]},
        "_pads": {"pads": [1, 1, 1, 1]},
        "_pads_uneven": {"pads": [0, 1, 2, 0]},
        "_ceil": {"strides": [2, 2], "ceil_mode": 1},
        "_ceil_pads": {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        # The last window would begin in the padding: it is left out.
        "_ceil_outside": {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        "_ceil_wide": {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [0, 0, 0, 0], "ceil_mode": 1},
        "_floor_pads": {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    }
    for suffix, attributes in pools.items():
        attributes = {"kernel_shape": [3, 2], **attributes}
        single(f"maxpool{suffix}", "MaxPool", 10, **attributes)
        single(f"averagepool{suffix}", "AveragePool", 10, **attributes)
        single(f"averagepool{suffix}_counting", "AveragePool", 10, count_include_pad=1, **attributes)
        single(f"averagepool{suffix}_19", "AveragePool", 19, **attributes)
        single(f"averagepool{suffix}_19_counting", "AveragePool", 19, count_include_pad=1, **attributes)
    single("maxpool_dilations", "MaxPool", 10, kernel_shape=[2, 2], dilations=[2, 3])
    single("maxpool_dilations_pads", "MaxPool", 10, kernel_shape=[3, 2], dilations=[2, 2], pads=[1, 1, 2, 0])
    single("maxpool_dilations_ceil", "MaxPool", 10, kernel_shape=[2, 2], dilations=[2, 2], strides=[2, 2], ceil_mode=1)
    single("maxpool_1", "MaxPool", 1, kernel_shape=[2, 2], strides=[2, 2])
    single("maxpool_8_column_major", "MaxPool", 8, kernel_shape=[2, 2], storage_order=1)
    case("maxpool_with_indices", 12, lambda n: n.MaxPool(n.map(), outputs=2, kernel_shape=[2, 2])[0])
    case("maxpool_indices", 12, lambda n: n.cast(n.MaxPool(n.map(), outputs=2, kernel_shape=[2, 2])[1]))
    case(
        "maxpool_of_negative_padded",
        12,
        lambda n: n.MaxPool(n.Sub(n.map(), 9.0), kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    )
    single("averagepool_dilations", "AveragePool", 19, kernel_shape=[2, 2], dilations=[2, 2])
    single("averagepool_dilations_pads", "AveragePool", 19, kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1])
    single(
        "averagepool_dilations_pads_counting",
        "AveragePool",
        19,
        kernel_shape=[2, 2],
        dilations=[2, 2],
        pads=[1, 1, 1, 1],
        count_include_pad=1,
    )
    single("averagepool_1", "AveragePool", 1, kernel_shape=[2, 2])
    single("averagepool_7", "AveragePool", 7, kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1)
    single("averagepool_as_map", "AveragePool", 11, kernel_shape=[5, 4])
    case(
        "averagepool_conv",
        11,
        lambda n: n.conv(n.AveragePool(n.map(), kernel_shape=[2, 2], pads=[1, 1, 1, 1]), 3, 2, (2, 2)),
    )
    case(
        "pool_of_row",
        13,
        lambda n: n.AveragePool(n.Reshape(n.map(), [1, 3, 20]), kernel_shape=[3], strides=[2], pads=[1, 1]),
    )
    case(
        "maxpool_of_row",
        13,
        lambda n: n.MaxPool(n.Reshape(n.map(), [1, 3, 20]), kernel_shape=[3], strides=[2], pads=[1, 1]),
    )
    single("global_average_pool", "GlobalAveragePool", 1)
    single("global_max_pool", "GlobalMaxPool", 1)
    case("global_average_pool_between", 13, lambda n: n.conv(n.GlobalAveragePool(n.map()), 3, 4))
    case("global_max_pool_of_row", 13, lambda n: n.GlobalMaxPool(n.Reshape(n.map(), [1, 3, 20])))
    case(
        "squeeze_excite",
        13,
        lambda n: (
            lambda m: n.conv(n.Mul(m, n.HardSigmoid(n.conv(n.Relu(n.conv(n.GlobalAveragePool(m), 4, 2)), 2, 4))), 4, 3)
        )(n.map(4)),
    )

    def transposed(name, inside=3, weights=(3, 2, 3, 2), bias=False, opset=11, **attributes):
        case(
            name,
            opset,
            lambda n: n.ConvTranspose(
                n.map(inside),
                n.weights(*weights),
                *([n.weights(weights[1] * attributes.get("group", 1))] if bias else []),
                **attributes,
            ),
        )

    transposed("convtranspose")
    transposed("convtranspose_bias", bias=True)
    transposed("convtranspose_strides", strides=[2, 3])
    transposed("convtranspose_pads", pads=[1, 0, 1, 1])
    transposed("convtranspose_strides_pads", strides=[2, 2], pads=[0, 1, 2, 0], bias=True)
    transposed("convtranspose_output_padding", strides=[2, 3], output_padding=[1, 2])
    transposed("convtranspose_output_padding_pads", strides=[2, 2], output_padding=[1, 1], pads=[1, 1, 1, 1])
    transposed("convtranspose_dilations", dilations=[2, 2])
    transposed("convtranspose_dilations_strides", dilations=[2, 1], strides=[2, 2], pads=[1, 0, 1, 0])
    transposed("convtranspose_groups", 4, (4, 3, 2, 2), group=2, strides=[2, 2], bias=True)
    transposed(
        "convtranspose_depthwise", 4, (4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    )
    transposed("convtranspose_pointwise", weights=(3, 2, 1, 1))
    transposed("convtranspose_pointwise_strides", weights=(3, 2, 1, 1), strides=[2, 2])
    transposed("convtranspose_kernel_shape", kernel_shape=[3, 2], strides=[2, 2])
    transposed("convtranspose_output_shape", strides=[2, 2], output_shape=[10, 8])
    transposed("convtranspose_output_shape_odd", strides=[3, 2], output_shape=[14, 9])
    transposed("convtranspose_output_shape_same_upper", strides=[2, 2], output_shape=[10, 7], auto_pad="SAME_UPPER")
    transposed("convtranspose_output_shape_same_lower", strides=[2, 2], output_shape=[10, 7], auto_pad="SAME_LOWER")
    case(
        "convtranspose_conv",
        13,
        lambda n: n.conv(
            n.Relu(n.ConvTranspose(n.map(), n.weights(3, 4, 2, 2), n.weights(4), strides=[2, 2])),
            4,
            2,
            (3, 3),
            strides=[2, 2],
        ),
    )
