"""What compare.py found out, as Markdown."""


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def model_table(result):
    lines = [f"## {result['model']}", ""]
    ratio = result["ratio"]
    if ratio:
        least, most = min(ratio["rounds"]), max(ratio["rounds"])
        lines += [f"hardnetd takes **{ratio['median']:.2f}** times as long as the fastest peer "
                  f"(median of the rounds; from {least:.2f} to {most:.2f}).", ""]
    lines += ["| engine | version | median ms | least ms | hardnetd to it | memory MB | before loading MB "
              "| logits off by |",
              "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for engine, row in sorted(result["engines"].items(), key=lambda item: item[1]["median_ms"]):
        off = "-" if row["logits_difference"] is None else f"{row['logits_difference']:.1e}"
        off += "" if row["same_network"] else ", not counted as a peer"
        lines.append(f"| {engine} | {row['version']} | {number(row['median_ms'], 2)} | {number(row['min_ms'], 2)} "
                     f"| {number(row.get('hardnetd_ratio'), 2)} | {number(row['peak_memory_mb'], 0)} "
                     f"| {number(row['memory_before_loading_mb'], 0)} | {off} |")
    if result["logits_between_engines"] is not None:
        lines += ["", f"Largest difference of a logit between two engines: {result['logits_between_engines']:.1e}."]
    if result["left_out"]:
        lines += ["", "Left out:", ""]
        lines += [f"- {engine}: {reason}" for engine, reason in result["left_out"].items()]
    return lines


def markdown(report):
    height, width = report["size"]
    lines = ["# hardnetd and its peers", "",
             f"{report['cpu']}, cores {report['cores']}, threads {report['threads']}, input {height}×{width}, "
             f"{report['rounds']} rounds of {report['slice_s']} s for each engine, {report['measured_at']}.", ""]
    for result in report["models"]:
        lines += [*model_table(result), ""]
    return "\n".join(lines)
