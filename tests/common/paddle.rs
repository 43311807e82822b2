//! Weights in the form in which `paddle.save` writes a state dict: a pickle of NumPy arrays.

use hardnetd::weights::StateDict;

/// The entries of `state` under PaddlePaddle's names and in its layouts, as a pickle of protocol 3. PaddlePaddle counts no
/// batches.
pub fn pickle(state: &StateDict) -> Vec<u8> {
    let mut out = b"\x80\x03}(".to_vec();
    for (key, array) in state.iter().filter(|(key, _)| !key.ends_with("num_batches_tracked")) {
        text(&mut out, &key.replace(".running_mean", "._mean").replace(".running_var", "._variance"));
        let (mut shape, mut values) = (array.shape().to_vec(), array.data().to_vec());
        // A linear layer is stored as (in, out).
        if let [rows, columns] = shape[..] {
            values = (0..rows * columns).map(|index| array.data()[index % rows * columns + index / rows]).collect();
            shape = vec![columns, rows];
        }
        out.extend(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\x01(");
        for extent in shape {
            out.push(b'J');
            out.extend(u32::try_from(extent).unwrap().to_le_bytes());
        }
        out.extend(b"tcnumpy\ndtype\n");
        text(&mut out, "f4");
        out.extend(b"\x89\x88\x87R(K\x03");
        text(&mut out, "<");
        out.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89B");
        out.extend(u32::try_from(values.len() * size_of::<f32>()).unwrap().to_le_bytes());
        out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        out.extend(b"tb");
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.as_bytes());
}
