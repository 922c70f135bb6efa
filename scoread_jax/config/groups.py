"""The groups of the configuration: frozen dataclasses, checked when made.

The text under each field is the one place where an option is described; the command line reads it from here.
"""

from __future__ import annotations

import dataclasses

from scoread_jax.checks import convert_fields, one_of, require


@dataclasses.dataclass(frozen=True)
class SDEConfig:
    """The forward process."""

    name: str = "exponential_ve"
    """exponential_ve (ScoreAD's dx = sigma^t dw), linear_ve (EDM's, time is noise), geometric_ve, vp or sub_vp"""
    sigma: float = 5.0
    """growth of exponential_ve's noise, > 1"""
    sigma_min: float = 0.01
    """geometric_ve's noise at time 0"""
    sigma_max: float = 50.0
    """geometric_ve's noise at time 1"""
    beta_min: float = 0.1
    """of vp and sub_vp, at time 0"""
    beta_max: float = 20.0
    """of vp and sub_vp, at time 1"""
    t_min: float = 1e-5
    """smallest training time"""
    t_max: float = 1.0
    """largest training time"""

    def __post_init__(self) -> None:
        convert_fields(self, "sde.")
        require(
            self,
            "sde.",
            name=one_of(self.name, "exponential_ve", "linear_ve", "geometric_ve", "vp", "sub_vp"),
            sigma=(self.sigma > 1, "greater than 1"),
            sigma_max=(self.sigma_max > 0, "greater than 0"),
            sigma_min=(0 < self.sigma_min < self.sigma_max, f"greater than 0 and less than {self.sigma_max:g}"),
            beta_max=(self.beta_max > 0, "greater than 0"),
            beta_min=(0 < self.beta_min <= self.beta_max, f"greater than 0 and at most {self.beta_max:g}"),
            t_min=(0 < self.t_min < self.t_max, f"greater than 0 and less than sde.t_max = {self.t_max:g}"),
        )


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network."""

    name: str = "unet1d"
    """unet1d (ScoreAD's), mlp, or energy (the gradient of a scalar mlp)"""
    hidden: int = 256
    """width of the dense layers, a multiple of 8"""
    channels: int = 16
    """channels of unet1d's first convolution, a multiple of 4"""
    blocks: int = 3
    """residual blocks of mlp and energy"""
    embedding: int = 256
    """width of the time embedding, even"""
    precondition: str = "over_std"
    """from output to score: over_std (published), wiener (the best linear denoiser, and what it leaves), or edm (the
    same with one variance for all coordinates)"""

    def __post_init__(self) -> None:
        convert_fields(self, "network.")
        require(
            self,
            "network.",
            name=one_of(self.name, "unet1d", "mlp", "energy"),
            hidden=(self.hidden >= 8 and self.hidden % 8 == 0, "a multiple of 8"),
            channels=(self.channels >= 4 and self.channels % 4 == 0, "a multiple of 4"),
            blocks=(self.blocks >= 1, "1 or more"),
            embedding=(self.embedding >= 2 and self.embedding % 2 == 0, "a multiple of 2"),
            precondition=one_of(self.precondition, "over_std", "wiener", "edm"),
        )


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """The ring of neighbours that conditions the network; outer = 0 turns it off."""

    outer: int = 0
    """width of the window in pixels, odd, at least 3; 0: no spatial condition"""
    inner: int = 0
    """width of the hole in the window, odd, smaller than outer"""

    def __post_init__(self) -> None:
        convert_fields(self, "context.")
        window = self.outer >= 3 and self.outer % 2 == 1
        hole = 0 < self.inner < self.outer and self.inner % 2 == 1
        expected = f"odd and less than context.outer = {self.outer}" if self.outer else "0, like context.outer"
        require(
            self,
            "context.",
            outer=(window or self.outer == 0, "odd and at least 3, or 0"),
            inner=(hole or self.inner == self.outer == 0, expected),
        )

    @property
    def conditional(self) -> bool:
        """Whether there is a ring at all."""
        return self.outer > 0


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The training recipe."""

    epochs: int = 100
    """passes over the scene"""
    steps: int = 0
    """steps instead of epochs, rounded up to whole epochs; 0: epochs counts"""
    max_pixels: int = 0
    """train on a random sample of so many pixels of a larger scene; 0: on all"""
    drop: float = 0.0
    """fraction of the pixels that does not train: those the closed-form members find most anomalous"""
    batch_size: int = 16
    """spectra per step, at most the scene's pixels"""
    devices: int = 1
    """devices that share a batch, a divisor of batch_size; more pay for large batches and networks"""
    ensemble: int = 1
    """networks whose scores are averaged; all devices train, each its own (one alone: the same up to rounding)"""
    learning_rate: float = 3e-5
    """of AdamW"""
    weight_decay: float = 1e-2
    """of AdamW"""
    schedule: str = "constant"
    """constant, or cosine (down to 0)"""
    warmup: float = 0.0
    """fraction of the steps over which the learning rate rises from 0"""
    clip_norm: float = 0.0
    """largest global norm of the gradient; 0: not clipped"""
    ema_decay: float = 0.0
    """decay of the parameters' moving average, which then scores; 0: none"""
    patience: int = 0
    """end where the loss on a tenth of the spectra, which does not train, has not fallen for so many epochs, with the
    best parameters; 0: train to the end"""
    retain: float = 1.0
    """fraction of each batch, the lowest losses, that trains (trimmed loss); 1: all"""
    teacher_keep: float = 1.0
    """fraction of each batch, the shortest clean scores of the moving average, that trains; 1: all"""
    ring_dropout: float = 0.0
    """fraction of the spectra that trains without its ring, for detect.statistic = ring_contrast"""
    times: str = "uniform"
    """how training times are drawn: uniform, stratified, log_uniform, importance or log_normal"""
    spectra_per_time: int = 1
    """spectra of a batch that share a training time; more: a faster step"""
    weighting: str = "std"
    """how times are weighted: std (published), edm, likelihood or min_snr"""

    def __post_init__(self) -> None:
        convert_fields(self, "train.")
        require(
            self,
            "train.",
            epochs=(self.epochs >= 1, "1 or more"),
            steps=(self.steps >= 0, "0 (epochs counts) or more"),
            max_pixels=(self.max_pixels >= 0, "0 (all) or more"),
            drop=(0 <= self.drop < 1, "in [0, 1)"),
            batch_size=(self.batch_size >= 1, "1 or more"),
            devices=(
                self.devices >= 1 and self.batch_size % self.devices == 0,
                f"a divisor of train.batch_size = {self.batch_size}",
            ),
            ensemble=(self.ensemble >= 1, "1 or more"),
            learning_rate=(self.learning_rate > 0, "greater than 0"),
            weight_decay=(self.weight_decay >= 0, "0 or more"),
            schedule=one_of(self.schedule, "constant", "cosine"),
            warmup=(0 <= self.warmup < 1, "in [0, 1)"),
            clip_norm=(self.clip_norm >= 0, "0 (not clipped) or more"),
            ema_decay=(0 <= self.ema_decay < 1, "in [0, 1)"),
            patience=(self.patience >= 0, "0 (train to the end) or more"),
            retain=(0 < self.retain <= 1, "in (0, 1]"),
            teacher_keep=(
                self.teacher_keep == 1 or (0 < self.teacher_keep < 1 and self.ema_decay > 0 and self.retain == 1),
                "in (0, 1], and 1 (all) where train.ema_decay is 0 or train.retain is not 1",
            ),
            ring_dropout=(0 <= self.ring_dropout < 1, "in [0, 1)"),
            times=one_of(self.times, "uniform", "stratified", "log_uniform", "importance", "log_normal"),
            spectra_per_time=(self.spectra_per_time >= 1, "1 or more"),
            weighting=one_of(self.weighting, "std", "edm", "likelihood", "min_snr"),
        )


@dataclasses.dataclass(frozen=True)
class DetectConfig:
    """How a trained model scores a scene."""

    statistic: str = "unit_sum"
    """unit_sum (published), mean_resultant, mean_score, clean_norm, ring_contrast, dsm_residual, normal_bundle,
    flipd, time_posterior or negative_log_likelihood"""
    times: tuple[float, ...] = (0.05,)
    """noise times, each in (0, sde.t_max]"""
    time_fusion: str = "mean_z"
    """one score from several times: mean_z or max_z (of robust z-scores), fisher (of ranks) or mixture (MSMA)"""
    perturbations: int = 100
    """perturbed copies K of every spectrum"""
    first: int = 0
    """perturbed copies of every spectrum at first, and K then of those whose rank is still open; 0: K of all"""
    refine: float = 0.1
    """fraction of the pixels, the highest, whose rank is open after detect.first copies"""
    estimator: str = "reference"
    """how the copies' noise is drawn: reference (independent, published), antithetic (pairs z, -z), shared (the same
    for all pixels) or orthogonal (shared, in pairs along orthogonal directions)"""
    precision: str = "float32"
    """of the factors in the network's products: float32, or bfloat16 (for accelerators; their sums stay float32)"""
    chunk: int = 0
    """pixels scored at once; 0: as many as suit the device"""

    def __post_init__(self) -> None:
        convert_fields(self, "detect.")
        pairs = self.estimator in ("antithetic", "orthogonal")
        least = {"mean_resultant": 4, "normal_bundle": 2}.get(self.statistic, 1)
        length = self.statistic in ("unit_sum", "mean_score", "ring_contrast", "dsm_residual")
        few = length and self.first < self.perturbations and not (pairs and self.first % 2)
        require(
            self,
            "detect.",
            statistic=one_of(
                self.statistic,
                "unit_sum",
                "mean_resultant",
                "mean_score",
                "clean_norm",
                "ring_contrast",
                "dsm_residual",
                "normal_bundle",
                "flipd",
                "time_posterior",
                "negative_log_likelihood",
            ),
            times=(len(self.times) > 0, "one noise time or more"),
            time_fusion=one_of(self.time_fusion, "mean_z", "max_z", "fisher", "mixture"),
            perturbations=(
                self.perturbations >= least and not (pairs and self.perturbations % 2),
                f"{least} or more{f' for {self.statistic}' if least > 1 else ''}"
                f"{f', and even for {self.estimator} noise' if pairs else ''}",
            ),
            first=(
                self.first == 0 or (few and self.first > 0),
                f"0 (all K at once){f' or less than {self.perturbations}' if length else ''}"
                f"{f', and even for {self.estimator} noise' if pairs else ''} for {self.statistic}",
            ),
            refine=(0 < self.refine <= 1, "in (0, 1]"),
            estimator=one_of(self.estimator, "reference", "antithetic", "shared", "orthogonal"),
            precision=one_of(self.precision, "float32", "bfloat16"),
            chunk=(self.chunk >= 0, "0 (automatic) or more"),
        )


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """The coordinates in which the network sees the spectra."""

    kind: str = "identity"
    """identity (bands as they are), standardised (each band by its deviation) or root (square roots)"""
    components: int = 30
    """principal components kept, for all kinds but identity"""

    def __post_init__(self) -> None:
        convert_fields(self, "view.")
        require(
            self,
            "view.",
            kind=one_of(self.kind, "identity", "standardised", "root"),
            components=(self.components >= 1, "1 or more"),
        )


@dataclasses.dataclass(frozen=True)
class ClosedFormConfig:
    """The members that need no training. A ring is a window without its hole, widths in pixels, odd."""

    views: tuple[str, ...] = ("standardised", "root")
    """coordinates to compute in, and to average over"""
    components: int = 30
    """principal components of each view"""
    nearest_inner: tuple[int, ...] = (1, 3, 7, 15)
    """holes of the rings that are searched for nearest neighbours"""
    nearest_outer: tuple[int, ...] = (5, 9, 15, 25)
    """windows of the same"""
    neighbours: tuple[int, ...] = (3, 20)
    """how many nearest neighbours in a ring"""
    temperature: float = 2.0
    """of the soft maximum over rings, in robust standard deviations"""
    gaussian_inner: tuple[int, ...] = (3, 5, 7, 11, 15)
    """holes of the rings that a Gaussian is fitted to"""
    gaussian_outer: tuple[int, ...] = (9, 11, 15, 21, 25)
    """windows of the same"""
    gaussian_components: int = 20
    """leading components that the Gaussian uses"""
    ridge: float = 3e-3
    """added to the Gaussian's covariance, as a fraction of the scene's variance"""
    suspects: float = 0.0
    """fraction of the pixels, the furthest from their nearest spectra, that no Gaussian is fitted to"""
    scene_neighbours: int = 40
    """how many nearest neighbours in the whole scene"""
    scene_references: int = 5000
    """spectra of the scene to compare with"""

    def __post_init__(self) -> None:
        convert_fields(self, "closed_form.")
        known = all(view in ("standardised", "root") for view in self.views)
        require(
            self,
            "closed_form.",
            views=(len(self.views) > 0 and known, "standardised, root, or both"),
            components=(self.components >= 1, "1 or more"),
            nearest_inner=_rings(self.nearest_inner, self.nearest_outer, "closed_form.nearest_outer"),
            neighbours=(len(self.neighbours) > 0 and min(self.neighbours) >= 1, "numbers of 1 or more"),
            temperature=(self.temperature > 0, "greater than 0"),
            gaussian_inner=_rings(self.gaussian_inner, self.gaussian_outer, "closed_form.gaussian_outer"),
            gaussian_components=(self.gaussian_components >= 1, "1 or more"),
            ridge=(self.ridge > 0, "greater than 0"),
            suspects=(0 <= self.suspects < 1, "in [0, 1)"),
            scene_neighbours=(self.scene_neighbours >= 1, "1 or more"),
            scene_references=(self.scene_references >= 2, "2 or more"),
        )

    @property
    def nearest_rings(self) -> tuple[tuple[int, int], ...]:
        """(inner, outer) of each ring that is searched for nearest neighbours."""
        return tuple(zip(self.nearest_inner, self.nearest_outer, strict=True))

    @property
    def gaussian_rings(self) -> tuple[tuple[int, int], ...]:
        """(inner, outer) of each ring that a Gaussian is fitted to."""
        return tuple(zip(self.gaussian_inner, self.gaussian_outer, strict=True))


@dataclasses.dataclass(frozen=True)
class FusionConfig:
    """How the members' maps become one."""

    members: tuple[str, ...] = ("network",)
    """any of network, ring_nearest, ring_gaussian, scene_nearest; a single one is rescaled only for what follows"""
    weights: tuple[float, ...] = (1.0,)
    """of each member"""
    linear_to: float = 1.0
    """quantile of a member's map up to which it counts as it is, beyond it by its logarithm; 1: all as it is"""
    veto: float = 0.0
    """robust standard deviations by which a member may speak against a pixel at most; 0: without limit"""
    largest_object: int = 0
    """pixels; groups that touch and stand out together are no object where they are larger; 0: of any size"""
    background: float = 0.75
    """robust standard deviations up to which a pixel may pass for background: larger groups are lowered towards it"""
    ground: float = 1.0
    """robust standard deviations above the background that ground may reach; a larger group that stands higher may be
    an object"""
    keep_large: float = 0.0
    """share that such a group keeps of what it stands higher than that, in [0, 1]"""
    surroundings: float = 0.0
    """how much of the local mean is subtracted, in [0, 1]"""
    window: int = 21
    """width of that local mean in pixels, odd"""
    lend: float = 0.0
    """how much of the 3 x 3 maximum is added"""

    def __post_init__(self) -> None:
        convert_fields(self, "fusion.")
        choices = ("network", "ring_nearest", "ring_gaussian", "scene_nearest")
        each_once = len({*self.members}) == len(self.members) > 0 and all(name in choices for name in self.members)
        fits = len(self.weights) == len(self.members) and min(self.weights) >= 0 and sum(self.weights) > 0
        require(
            self,
            "fusion.",
            members=(each_once, f"a list of {', '.join(choices)}, each at most once"),
            weights=(fits, "one number of 0 or more for each of fusion.members, not all 0"),
            linear_to=(0 < self.linear_to <= 1, "in (0, 1]"),
            veto=(self.veto >= 0, "0 (without limit) or more"),
            largest_object=(self.largest_object >= 0, "0 (any size) or more"),
            background=(self.background >= 0, "0 or more"),
            ground=(self.ground >= 0, "0 or more"),
            keep_large=(0 <= self.keep_large <= 1, "in [0, 1]"),
            surroundings=(0 <= self.surroundings <= 1, "in [0, 1]"),
            window=(self.window >= 1 and self.window % 2 == 1, "odd"),
            lend=(self.lend >= 0, "0 or more"),
        )

    @property
    def in_image(self) -> bool:
        """Whether a pixel's value depends on its neighbours' once the members are one map."""
        return self.largest_object > 0 or self.surroundings > 0 or self.lend > 0


def _rings(inner: tuple[int, ...], outer: tuple[int, ...], windows: str) -> tuple[bool, str]:
    good = len(inner) == len(outer) > 0 and all(
        hole % 2 == 1 and window % 2 == 1 and 0 < hole < window for hole, window in zip(inner, outer, strict=True)
    )
    return good, f"odd widths, one less than each of {windows} = {list(outer)}"


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides a run, but the scene."""

    sde: SDEConfig = SDEConfig()
    network: NetworkConfig = NetworkConfig()
    context: ContextConfig = ContextConfig()
    train: TrainConfig = TrainConfig()
    detect: DetectConfig = DetectConfig()
    view: ViewConfig = ViewConfig()
    closed_form: ClosedFormConfig = ClosedFormConfig()
    fusion: FusionConfig = FusionConfig()
    sample: int = 131072
    """of a larger scene, so many spectra at random tell what is learned from the scene as a whole"""
    seed: int = 0
    """of all random draws: initialisation, batches, noise"""

    def __post_init__(self) -> None:
        convert_fields(self)
        require(self, sample=(self.sample >= 2, "2 or more"), seed=(0 <= self.seed < 2**32, "in [0, 2^32)"))
        inside = all(0 < t <= self.sde.t_max for t in self.detect.times)
        ringed = self.context.conditional or self.detect.statistic != "ring_contrast"
        require(
            self.detect,
            "detect.",
            times=(inside, f"noise times in (0, {self.sde.t_max:g}] (sde.t_max)"),
            statistic=(ringed, "another where context.outer is 0: there is no ring to contrast"),
        )
