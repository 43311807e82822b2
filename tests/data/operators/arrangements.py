"""Values in another order, parts of them, and maps of another size."""

import numpy as np
from network import INT64, case, single


def arrangements():
    single("flatten_1", "Flatten", 13)
    single("flatten_2", "Flatten", 13, axis=2)
    single("flatten_0", "Flatten", 13, axis=0)
    single("flatten_4", "Flatten", 13, axis=4)
    single("flatten_minus_1", "Flatten", 13, axis=-1)
    ints = lambda *values: lambda n: n.ints(*values)
    single("reshape", "Reshape", 13, [ints(1, 6, 2, 5)])
    single("reshape_open", "Reshape", 13, [ints(1, -1, 6)])
    single("reshape_copy", "Reshape", 13, [ints(0, 0, -1)])
    single("reshape_copy_second", "Reshape", 13, [ints(5, -1, 1, 2)])
    single("reshape_allowzero", "Reshape", 14, [ints(1, -1, 4)], allowzero=1)
    case(
        "reshape_computed",
        13,
        lambda n: (lambda m: n.Reshape(m, n.Concat(n.Slice(n.Shape(m), [0], [2]), [-1], axis=0)))(n.map()),
    )
    case(
        "reshape_shuffle",
        13,
        lambda n: n.conv(
            n.Reshape(n.Transpose(n.Reshape(n.map(6), [1, 2, 3, 5, 4]), perm=[0, 2, 1, 3, 4]), [1, 6, 5, 4]), 6, 3
        ),
    )
    for perm in ([0, 2, 3, 1], [3, 2, 1, 0], [0, 1, 3, 2], [2, 0, 1, 3]):
        single("transpose_" + "".join(map(str, perm)), "Transpose", 13, perm=perm)
    single("transpose_default", "Transpose", 13)
    case("transpose_between", 13, lambda n: n.conv(n.Transpose(n.map(), perm=[0, 1, 3, 2]), 3, 3, (2, 3)))
    case("transpose_before", 13, lambda n: n.map(of=n.Transpose(n.x, perm=[0, 1, 3, 2])))
    case("squeeze_11", 11, lambda n: n.Squeeze(n.GlobalAveragePool(n.map()), axes=[2, 3]))
    case("squeeze_11_negative", 11, lambda n: n.Squeeze(n.GlobalAveragePool(n.map()), axes=[-1]))
    case("squeeze_11_all", 11, lambda n: n.Squeeze(n.GlobalAveragePool(n.map())))
    case("squeeze_13", 13, lambda n: n.Squeeze(n.GlobalAveragePool(n.map()), [-1, 2]))
    case("squeeze_13_all", 13, lambda n: n.Squeeze(n.GlobalAveragePool(n.map())))
    case("unsqueeze_11", 11, lambda n: n.conv(n.Unsqueeze(n.row(6), axes=[2, 3]), 6, 4))
    case("unsqueeze_11_negative", 11, lambda n: n.Unsqueeze(n.map(), axes=[-1, 0]))
    case("unsqueeze_13", 13, lambda n: n.conv(n.Unsqueeze(n.row(6), [3, 2]), 6, 4))
    case("unsqueeze_13_negative", 13, lambda n: n.Unsqueeze(n.map(), [-1, -6]))
    for axis in (1, 2, 3, -1, -3):
        case(f"concat_{axis}".replace("-", "minus_"), 13, lambda n, axis=axis: n.Concat(n.map(), n.map(), axis=axis))
    case("concat_constant", 13, lambda n: n.Concat(n.map(), n.weights(1, 2, 5, 4), n.map(), axis=1))
    case("concat_constant_first", 13, lambda n: n.conv(n.Concat(n.weights(1, 2, 5, 4), n.map(), axis=1), 5, 2))
    case("concat_4", 4, lambda n: n.Concat(n.map(), n.map(), axis=1))
    case("concat_same", 13, lambda n: (lambda m: n.conv(n.Concat(m, m, axis=1), 6, 2))(n.map()))
    case("concat_one", 13, lambda n: n.Concat(n.map(), axis=2))
    case(
        "concat_pools",
        13,
        lambda n: (lambda m: n.conv(n.Concat(n.GlobalAveragePool(m), n.GlobalMaxPool(m), axis=1), 6, 4))(n.map()),
    )

    def slices(name, starts, ends, axes=None, steps=None, opset=13):
        if opset < 10:
            single(name, "Slice", opset, starts=starts, ends=ends, axes=axes)
        else:
            single(
                name,
                "Slice",
                opset,
                [ints(*starts), ints(*ends), ints(*axes) if axes else None, ints(*steps) if steps else None][
                    : 2 + bool(axes or steps) + bool(steps)
                ],
            )

    slices("slice_9", [1, 1], [4, 3], [2, 3], opset=9)
    slices("slice_9_negative", [-3], [-1], [2], opset=9)
    slices("slice_9_no_axes", [0, 1, 1, 0], [1, 3, 9, 2], opset=9)
    slices("slice_13", [1, 1], [4, 3], [2, 3])
    slices("slice_13_no_axes", [0, 1], [1, 3])
    slices("slice_13_negative", [-3, 0], [-1, -1], [-2, -1])
    slices("slice_13_beyond", [1], [2**62], [3])
    slices("slice_13_steps", [0, 1], [5, 4], [2, 3], [2, 2])
    slices("slice_13_backwards", [-1], [-(2**62)], [3], [-1])
    slices("slice_13_backwards_two", [4, 3], [0, -5], [2, 3], [-2, -3])
    slices("slice_13_backwards_whole", [2**31 - 1], [-(2**31) + 1], [1], [-1])
    slices("slice_13_step_beyond", [-9], [9], [2], [3])
    case("slice_between", 13, lambda n: n.conv(n.Slice(n.map(), [0], [5], [2], [2]), 3, 3, (2, 2)))
    case("slice_channels_of_input", 13, lambda n: n.map(of=n.Slice(n.x, [2], [-4], [1], [-1])))
    case("slice_int32", 13, lambda n: n.Slice(n.map(), *[n.constant([v], np.int32) for v in (1, 3, -2)]))
    case(
        "focus",
        13,
        lambda n: n.conv(
            n.Concat(
                *[n.Slice(n.map(2), n.ints(a, b), [4, 4], [2, 3], [2, 2]) for a in (0, 1) for b in (0, 1)], axis=1
            ),
            8,
            3,
        ),
    )

    def gather(name, indices, axis, dtype=np.int64, opset=13):
        single(name, "Gather", opset, [lambda n: n.constant(indices, dtype)], axis=axis)

    gather("gather", [2, 0], 1)
    gather("gather_default", [0], None)
    gather("gather_negative", [-1, 0, -2], 2)
    gather("gather_negative_axis", [3, -4, 1], -1)
    gather("gather_one", 1, 1)
    gather("gather_one_negative", -1, 3)
    gather("gather_matrix", [[0, 2], [-1, 1]], 1)
    gather("gather_int32", [2, -1], 2, np.int32)
    gather("gather_11", [2, -1], 2, opset=11)
    case(
        "gather_of_constant",
        13,
        lambda n: n.Gather(n.weights(7, 4), n.cast(n.Abs(n.Mul(n.row(6), 0.9)), INT64), axis=0),
    )
    case("gather_argmax", 13, lambda n: n.Gather(n.weights(6, 5), n.ArgMax(n.row(6), axis=1, keepdims=0)))
    for opset in (2, 11):
        case(
            f"split_{opset}",
            opset,
            lambda n: (lambda s: n.Concat(s[1], s[0], axis=2))(n.Split(n.map(), outputs=2, axis=2, split=[2, 3])),
        )
    case("split_11_even", 11, lambda n: n.Sub(*n.Split(n.map(4), outputs=2, axis=1)))
    case(
        "split_13",
        13,
        lambda n: (lambda s: n.Concat(s[2], s[0], axis=1))(n.Split(n.map(6), [1, 2, 3], outputs=3, axis=1)),
    )
    case("split_13_negative", 13, lambda n: n.Sub(*n.Split(n.map(), outputs=2, axis=-1)))
    case("split_13_default", 13, lambda n: n.Split(n.map(), outputs=1))
    case("split_18", 18, lambda n: n.Sub(*n.Split(n.map(), outputs=2, axis=3, num_outputs=2)))
    case(
        "split_18_uneven",
        18,
        lambda n: (lambda s: n.Concat(s[1], s[0], axis=2))(n.Split(n.map(), outputs=2, axis=2, num_outputs=2)),
    )
    case(
        "split_18_uneven_three",
        18,
        lambda n: (lambda s: n.Concat(s[2], s[0], s[1], axis=1))(n.Split(n.map(7), outputs=3, axis=1, num_outputs=3)),
    )
    case("split_unused", 13, lambda n: n.conv(n.Split(n.map(4), [1, 3], outputs=2, axis=1)[1], 3, 2))
    single("tile", "Tile", 13, [ints(1, 2, 1, 3)])
    case("tile_between", 13, lambda n: n.conv(n.Tile(n.GlobalAveragePool(n.map()), [1, 1, 3, 2]), 3, 2, (2, 2)))
    case("expand", 13, lambda n: n.Expand(n.GlobalAveragePool(n.map()), [1, 3, 2, 3]))
    case("expand_lower", 13, lambda n: n.Expand(n.GlobalAveragePool(n.map()), [3, 4]))
    case("expand_higher", 13, lambda n: n.Expand(n.row(6), [2, 3, 1, 6]))
    case("expand_one", 13, lambda n: n.Expand(n.map(), [1]))
    case("expand_constant", 13, lambda n: n.Add(n.map(), n.Expand(n.weights(3, 1, 1), [1, 3, 5, 4])))
    for mode in (None, "DCR", "CRD"):
        single(f"depth_to_space_{mode}".lower(), "DepthToSpace", 13, of=lambda n: n.map(8), blocksize=2, mode=mode)
    single("depth_to_space_1", "DepthToSpace", 1, of=lambda n: n.map(9), blocksize=3)
    single("space_to_depth", "SpaceToDepth", 13, of=lambda n: n.conv(n.map(2), 2, 2, (2, 1)), blocksize=2)
    case(
        "space_to_depth_of_input",
        1,
        lambda n: n.conv(n.SpaceToDepth(n.x, blocksize=4), 48, 2, (1, 1), strides=[2, 3], groups=2),
    )
    # Paddings.
    single("pad_2", "Pad", 2, pads=[0, 0, 1, 2, 0, 0, 0, 1])
    single("pad_2_value", "Pad", 2, pads=[0, 1, 1, 0, 0, 0, 2, 1], value=1.5)
    single("pad_2_reflect", "Pad", 2, pads=[0, 0, 1, 2, 0, 0, 2, 1], mode="reflect")
    single("pad_2_edge", "Pad", 2, pads=[0, 0, 1, 2, 0, 0, 2, 1], mode="edge")
    single("pad_2_negative", "Pad", 2, pads=[0, 0, -1, 2, 0, 0, 1, -1])
    single("pad_13", "Pad", 13, [ints(0, 0, 1, 2, 0, 0, 0, 1)])
    single("pad_13_value", "Pad", 13, [ints(0, 1, 1, 0, 0, 0, 2, 1), lambda n: n.constant(-0.5)])
    single("pad_13_reflect", "Pad", 13, [ints(0, 0, 1, 2, 0, 0, 2, 1)], mode="reflect")
    single("pad_13_reflect_whole", "Pad", 13, [ints(0, 2, 4, 3, 0, 2, 4, 3)], mode="reflect")
    single("pad_13_edge", "Pad", 13, [ints(0, 1, 1, 2, 0, 0, 2, 1)], mode="edge")
    single("pad_13_negative", "Pad", 13, [ints(0, 0, -1, 2, 0, 0, 1, -1)])
    single("pad_13_negative_only", "Pad", 13, [ints(0, -1, -1, 0, 0, 0, -1, -1)])
    single("pad_13_negative_edge", "Pad", 13, [ints(0, 0, -1, 2, 0, 0, 1, -1)], mode="edge")
    single("pad_13_negative_reflect", "Pad", 13, [ints(0, 0, -1, 2, 0, 0, 1, -1)], mode="reflect")
    single("pad_18_axes", "Pad", 18, [ints(1, 2, 0, 1), lambda n: n.constant(0.7), ints(3, -2)])
    single("pad_18_axes_reflect", "Pad", 18, [ints(1, 2, 0, 1), None, ints(2, 3)], mode="reflect")
    single("pad_19_wrap", "Pad", 19, [ints(0, 0, 1, 2, 0, 0, 2, 1)], mode="wrap")
    case("pad_before_conv", 13, lambda n: n.conv(n.Pad(n.map(), [0, 0, 1, 2, 0, 0, 0, 1]), 3, 2, (3, 3)))
    case("pad_before_conv_value", 13, lambda n: n.conv(n.Pad(n.map(), [0, 0, 1, 2, 0, 0, 0, 1], 0.5), 3, 2, (3, 3)))
    case(
        "pad_before_conv_reflect",
        13,
        lambda n: n.conv(n.Pad(n.map(), [0, 0, 1, 2, 0, 0, 0, 1], mode="reflect"), 3, 2, (3, 3)),
    )
    case("pad_before_maxpool", 13, lambda n: n.MaxPool(n.Pad(n.map(), [0, 0, 1, 1, 0, 0, 1, 1]), kernel_shape=[3, 3]))
    case(
        "pad_before_averagepool",
        13,
        lambda n: n.AveragePool(n.Pad(n.map(), [0, 0, 1, 1, 0, 0, 1, 1]), kernel_shape=[3, 3]),
    )
    case(
        "pad_before_padded_averagepool",
        13,
        lambda n: n.AveragePool(n.Pad(n.map(), [0, 0, 1, 0, 0, 0, 0, 1]), kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    )
    case(
        "pad_before_conv_same",
        13,
        lambda n: n.conv(n.Pad(n.map(), [0, 0, 1, 0, 0, 0, 0, 1]), 3, 2, (3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    )
    case("pad_channels_before_conv", 13, lambda n: n.conv(n.Pad(n.map(2), [0, 1, 0, 0, 0, 1, 0, 0]), 4, 2, (2, 2)))
    case("pad_of_input", 13, lambda n: n.map(of=n.Pad(n.x, [0, 0, 2, 3, 0, 0, 1, 4])))


def resizes():
    number = lambda values: lambda n: n.constant(values)
    ints = lambda values: lambda n: n.ints(*values)
    # No position is halfway between two pixels with `down`.
    up, down, odd, mixed = [1, 1, 2, 2], [1, 1, 0.7, 0.65], [1, 1, 1.5, 2.3], [1, 1, 2.0, 0.75]
    for mode in ("nearest", "linear"):
        for name, scales in (("up", up), ("down", down), ("odd", odd)):
            # In this operator set, it is open how a position between two pixels is rounded; exporters of enlargements
            # round down.
            if (mode, name) != ("nearest", "down"):
                single(f"resize_10_{mode}_{name}", "Resize", 10, [number(scales)], mode=mode)
    transforms = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    for transform in transforms:
        for mode in ("nearest", "linear", "cubic"):
            for name, scales in (("up", up), ("down", down), ("mixed", mixed), ("odd", odd)):
                if mode == "cubic" and name in ("mixed",):
                    continue
                single(
                    f"resize_13_{mode}_{transform}_{name}",
                    "Resize",
                    13,
                    [None, number(scales)],
                    mode=mode,
                    coordinate_transformation_mode=transform,
                )
            single(
                f"resize_13_{mode}_{transform}_sizes",
                "Resize",
                13,
                [None, None, ints([1, 3, 7, 3])],
                mode=mode,
                coordinate_transformation_mode=transform,
            )
    for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for transform in ("half_pixel", "asymmetric", "align_corners"):
            for name, scales in (("up", up), ("down", down)):
                single(
                    f"resize_13_{nearest}_{transform}_{name}",
                    "Resize",
                    13,
                    [None, number(scales)],
                    mode="nearest",
                    nearest_mode=nearest,
                    coordinate_transformation_mode=transform,
                )
    empty = lambda n: n.constant([], np.float32)
    single("resize_11", "Resize", 11, [empty, number(up)], mode="linear")
    single("resize_11_nearest", "Resize", 11, [empty, number(up)])
    single(
        "resize_11_sizes",
        "Resize",
        11,
        [empty, empty, ints([1, 3, 7, 6])],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    single(
        "resize_11_tf_half_pixel",
        "Resize",
        11,
        [empty, number(up)],
        coordinate_transformation_mode="tf_half_pixel_for_nn",
    )
    single("resize_13_default", "Resize", 13, [None, number(up)])
    single("resize_13_cubic_coeff", "Resize", 13, [None, number(up)], mode="cubic", cubic_coeff_a=-0.5)
    single("resize_13_cubic_exclude", "Resize", 13, [None, number(up)], mode="cubic", exclude_outside=1)
    single(
        "resize_13_one_pixel",
        "Resize",
        13,
        [None, None, ints([1, 3, 1, 1])],
        mode="linear",
        coordinate_transformation_mode="pytorch_half_pixel",
    )
    single(
        "resize_13_one_pixel_corners",
        "Resize",
        13,
        [None, None, ints([1, 3, 1, 4])],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    single("resize_13_channels", "Resize", 13, [None, number([1, 2, 1, 1])], mode="nearest")
    for mode in ("linear", "cubic"):
        single(f"resize_18_antialias_{mode}", "Resize", 18, [None, number(down)], mode=mode, antialias=1)
        single(f"resize_18_antialias_{mode}_up", "Resize", 18, [None, number(odd)], mode=mode, antialias=1)
    single("resize_18_axes", "Resize", 18, [None, number([2.0, 1.5])], mode="linear", axes=[2, 3])
    single("resize_18_axes_reversed", "Resize", 18, [None, None, ints([3, 8])], mode="nearest", axes=[3, 2])
    for policy in ("not_larger", "not_smaller"):
        single(
            f"resize_18_{policy}",
            "Resize",
            18,
            [None, None, ints([7, 7])],
            mode="linear",
            axes=[2, 3],
            keep_aspect_ratio_policy=policy,
        )
    single(
        "resize_19_half_pixel_symmetric",
        "Resize",
        19,
        [None, number(odd)],
        mode="linear",
        coordinate_transformation_mode="half_pixel_symmetric",
    )
    single(
        "resize_13_crop",
        "Resize",
        13,
        [number([0, 0, 0.1, 0.2, 1, 1, 0.9, 1.3]), number(up)],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=0.5,
    )
    case(
        "resize_between",
        13,
        lambda n: n.conv(n.Resize(n.map(), None, n.constant(up), mode="linear"), 3, 2, (3, 3), strides=[2, 2]),
    )
    case("resize_of_input", 13, lambda n: n.map(of=n.Resize(n.x, None, n.constant([1, 1, 1.25, 1.25]), mode="linear")))
    case(
        "resize_computed_sizes",
        13,
        lambda n: (
            lambda m: n.Resize(
                m,
                None,
                None,
                n.Mul(n.Shape(m), [1, 1, 2, 3]),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        )(n.map()),
    )
