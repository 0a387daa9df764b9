"""What an export made and what that cost, as text for a person."""

from __future__ import annotations

from edge_app.model.manifest import Loss, Manifest, Task
from edge_app.model.precision import in_words
from export.activations import FP16_MAX, WARN_ABOVE
from export.options import Options
from export.pipeline import Report


def summary(report: Report, options: Options) -> str:
    """Sizes, seconds, parity with transformers and what the precision lost."""
    manifest = report.bundle.manifest
    lines = [f"bundle {report.bundle.path} ({', '.join(manifest.tasks)}; {in_words(manifest)})"]
    for role, files in manifest.roles.items():
        lines.append(f"  {role:<17} {files.bin.size_bytes / 1e6:8.1f} MB  {files.precision}")
    total_mb = sum(file.size_bytes for file in manifest.files()) / 1e6
    lines.append(f"  {'all files':<17} {total_mb:8.1f} MB")
    lines.append("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items()))
    lines += [f"parity, {result}" for result in report.parity]
    if not report.parity:
        pictures = options.parity_pictures
        reason = "no --calibration folder to take pictures from" if pictures else "--parity-pictures 0"
        lines.append(f"parity: not measured ({reason})")
    told = [*quality_lines(manifest), *reduction_lines(manifest), *activation_lines(report)]
    return "\n".join([*lines, *told])


def quality_lines(manifest: Manifest) -> list[str]:
    """What the precision lost, in a few lines."""
    quality = manifest.quality
    if all(files.precision == "fp32" for files in manifest.roles.values()):
        return ["quality: nothing is lost in fp32"]
    if not quality.loss:
        return [
            f"quality: not measured, as there were no pictures: what {in_words(manifest)} loses is unknown. "
            "Export again with --quality DIR (or --calibration DIR) and --force to have it measured."
        ]
    lines = [f"quality of {in_words(manifest)} beside fp32 ({quality.pictures}):"]
    for task, loss in quality.loss.items():
        lines += _loss_lines(task, loss)
    if quality.kept is not None:
        names = [f"{role}: {', '.join(layers)}" for role, layers in quality.kept.layers.items()]
        moved = ", ".join(
            f"{task} {kl:.3g} -> {quality.loss[task].mean_kl:.3g}" for task, kl in quality.kept.mean_kl_before.items()
        )
        lines.append(f"  kept in fp32, {quality.kept.added_bytes / 1e6:+.1f} MB, KL {moved}; {'; '.join(names)}")
    if quality.accepted_below_thresholds:
        lines.append("  this is below the thresholds and was accepted with --accept-quality")
    return lines


def reduction_lines(manifest: Manifest) -> list[str]:
    """How many image tokens there are and what fewer of them lost, in a few lines; none where nothing is reduced."""
    image, quality = manifest.image, manifest.quality
    if not image.reduced:
        return []
    how = []
    if image.checkpoint_px is not None:
        how.append(f"pictures of {image.height_px} px where the checkpoint has {image.checkpoint_px}")
    if image.merged_positions:
        how.append(f"{image.merge_tokens} tokens merged a layer, {image.merged_positions} in all")
    lines = [f"image tokens: {image.positions} ({'; '.join(how)})"]
    if not quality.reduction:
        return [*lines, "  what that loses was not measured, as there were no pictures; give some with --quality DIR"]
    lines.append(f"all that is lost beside fp32 with the checkpoint's own tokens ({quality.pictures}), told only:")
    for task, loss in quality.reduction.items():
        lines += _loss_lines(task, loss)
    return lines


def activation_lines(report: Report) -> list[str]:
    """The largest value in each graph, and what is near the end of FP16; none where it was not measured."""
    spec = report.bundle.manifest.gpu
    if spec is None:
        return []
    values = ", ".join(f"{role} {value:.4g}" for role, value in spec.largest_activation.items())
    lines = [f"largest activations: {values}"]
    for role, largest in report.activations.items():
        if largest.value <= WARN_ABOVE:
            continue
        share = f"{largest.value:.4g} in {largest.operation}, {largest.value / FP16_MAX:.0%} of what FP16 holds"
        done = "a GPU computes it in FP32" if role in spec.f32 else "look at other pictures too before a GPU runs it"
        lines.append(f"  warning: {role} has {share}; {done}")
    return lines


def _loss_lines(task: Task, loss: Loss) -> list[str]:
    """The figures of one task."""
    lines = [
        f"  {task}: {loss.identical} of {loss.texts} texts identical, {loss.token_agreement:.1%} of tokens; "
        f"KL {loss.mean_kl:.3g} nats a token (a blank picture costs {loss.picture_kl:.3g}), "
        f"worst {loss.worst_kl:.3g} in {loss.worst_image}"
    ]
    if loss.unfinished:
        lines.append(f"    {loss.unfinished} texts of fp32 were cut off by --max-new-tokens; more may be wanted")
    if loss.answers:
        lines.append(f"    {loss.right} of {loss.answers} answers right (fp32: {loss.right_fp32})")
    if loss.cider is not None:
        lines.append(
            f"    CIDEr {loss.cider:.3f} (fp32: {loss.cider_fp32:.3f}), "
            f"BLEU-4 {loss.bleu4:.3f} (fp32: {loss.bleu4_fp32:.3f})"
        )
    return lines
