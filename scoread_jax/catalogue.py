"""The public benchmark scenes: what they are, who published their files, and what those files hash to."""

from __future__ import annotations

import dataclasses
from urllib.parse import quote

from scoread_jax.synthetic import SYNTHETIC

_SHA256 = {
    "cat-island.mat": "b1fa88474fbc06f2e654e4452d8f7f98757c199197e2b7fec1977a5c5753fcb0",
    "gulfport.mat": "c10cb987f0a75ad5834da2be35e2cfe740660fd9094521dd6d047de535a2a72b",
    "hydice.mat": "04a1795af7648b16fb305d3aedbd2e4534b9c0899ecbe7f5b387af2e274b124c",
    "hydice_v73.mat": "77ef00d701147ff3d790c8ac4bb57e5206ad84fd9e827894ac79269450cf3a67",
    "hyperion.mat": "fe81f68fc41e5f6a21a8c1a9deedd1d46b72353f9f5be7bced89d98f7e8cac2a",
    "los-angeles-1.mat": "0705395c9922948083bdd60a2889300c30d17d901648849705b4f35157b8c780",
    "los-angeles-2.mat": "7121476e700001e76191d6ee6bc6f2d5f680c0fe49186b61a57f10fcac7718b9",
    "muufl_masked.mat": "c002ca55801c2cafe968c214d773c30b02b2ae1bd132ab875a2ba13246be0a11",
    "pavia_center_105x120.mat": "177474d4086f12e294bb34d2a22c082923bdd3f581b7fa9889709f51399c60a4",
    "pavia_center_gt.mat": "62ba219f94e20104415611d69b411f13c44465cca8227c592367488e98087c9b",
    "salinas_implants_14.mat": "10ee254b4724abfd88f49cfc63c546672cac5ff7e4fdedf18a6bf839cc096da3",
    "salinas_implants_4.mat": "27c408897492885389c4a743c8cc29877de7582d9fa0778ec1cd6fc6c49e5367",
    "salinas_implants_gt.mat": "e826d51e1f31fddece6c3cb7b53f7ec6a47605842cc009fbd56ce0e7d3fd4629",
    "sandiego.mat": "7501cab39a598326fd2bd9420217f754f2384430d610dc289fa8d762e618aa64",
    "sandiego_224bands.mat": "6b4192566573cbac30afc59cdf486537170eb84f916124bf6601209e3fee00b7",
    "texas-coast.mat": "951d8d9c405d7ae200634dfd5244586545c01a561b1028f0e65e09e562523942",
}

# Repository on GitHub and the commit that is known to hold the file.
_AUTO_AD = ("RSIDEA-WHU2020/Auto-AD", "149d5526db595bf058ca5a7aae808af3ad7abf54")
_DSC = ("shendb2022/DSC", "f20796b2440b675326a216f0c2f05a5b432aac84")
_GT_HAD = ("jeline0110/GT-HAD", "66852960669d3a28aaf961ceb7a614bedf1fd0a2")
_HSI_TOOLKIT = ("GatorSense/hsi_toolkit_py", "d62e5f506bc45d94148bc3fd094b09b6ce083b1b")
_LAD = ("fverdoja/LAD-Laplacian-Anomaly-Detector", "beb291275848ae094177994ab9b2e57e3fe7fa4f")
_LREN = ("xdjiangkai/LREN", "ef091d3dd38ba714ae9a65a9dd26c7f727d85c35")
_RCRD = (
    "WuZhaoyue/Hyperspectral-Anomaly-Detection-With-Relaxed-Collaborative-Representation",
    "bc59080084e2c5e46c4e200c0db116a4d31a24d1",
)
_SAFRA = ("XiangfeiShen/TGRS_2022_SaFra", "b867adc37d0bc26c1eedc86958889f72e6cabfb4")
_SM_HAD = "Tanishq251/SM-HAD"  # no commit known
_TURBO_GODEC = ("jiahuisheng/Turbo-GoDec", "ac198b82791f1a4c5bc08e46629dbbe700942126")


@dataclasses.dataclass(frozen=True)
class File:
    """A published file.

    Attributes:
        name: what it is called here.
        repository: on GitHub, that published it.
        commit: of that repository; empty where no download is known.
        original: its path in that commit.
    """

    name: str
    repository: str
    commit: str = ""
    original: str = ""

    @property
    def sha256(self) -> str:
        """Digest of its bytes, 64 hexadecimal digits."""
        return _SHA256[self.name]

    @property
    def url(self) -> str | None:
        """Address of its bytes; None where no download is known."""
        if not self.commit:
            return None
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{quote(self.original)}"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A scene that has a name.

    Attributes:
        name: of the scene.
        sensor: that recorded it.
        description: one line.
        files: that of the cube, then that of the truth where it is another; none for the made scene.
    """

    name: str
    sensor: str
    description: str
    files: tuple[File, ...]


_SALINAS_TRUTH = File("salinas_implants_gt.mat", *_LAD, "data/salinas/salinas_gt.mat")

DATASETS = (
    Dataset(
        "hydice",
        "HYDICE",
        "urban, 100 × 80 × 162, 19 anomalous pixels; one of ScoreAD's scenes",
        (File("hydice.mat", *_LREN, "datasets/avirs/HYDICE_data.mat"),),
    ),
    Dataset(
        "hyperion",
        "EO-1 Hyperion",
        "100 × 100 × 145, 32 anomalous pixels; one of ScoreAD's scenes",
        (File("hyperion.mat", *_TURBO_GODEC, "Dataset/Hyperion.mat"),),
    ),
    Dataset(
        "pavia",
        "ROSIS",
        "Pavia Centre, 105 × 120 × 102, 71 anomalous pixels; the greater part of one of ScoreAD's scenes",
        (
            File("pavia_center_105x120.mat", *_RCRD, "data and AUC/dataPavia.mat"),
            # Three annotators' maps saved together; the first is that of this repository.
            File("pavia_center_gt.mat", "lzw-lzw/Hyperspectral-anomaly-detection-methods"),
        ),
    ),
    Dataset(
        "los-angeles-1",
        "AVIRIS",
        "airport (ABU airport-1), 100 × 100 × 205, 144 anomalous pixels",
        (File("los-angeles-1.mat", *_GT_HAD, "data/los-angeles-1.mat"),),
    ),
    Dataset(
        "los-angeles-2",
        "AVIRIS",
        "airport (ABU airport-2), 100 × 100 × 205, 87 anomalous pixels",
        (File("los-angeles-2.mat", *_GT_HAD, "data/los-angeles-2.mat"),),
    ),
    Dataset(
        "gulfport",
        "AVIRIS",
        "airport (ABU airport-4), 100 × 100 × 191, 60 anomalous pixels",
        (File("gulfport.mat", _SM_HAD),),
    ),
    Dataset(
        "texas-coast",
        "AVIRIS",
        "urban (ABU urban-1), 100 × 100 × 204, 67 anomalous pixels",
        (File("texas-coast.mat", _SM_HAD),),
    ),
    Dataset(
        "cat-island",
        "AVIRIS",
        "beach (ABU beach-1), 150 × 150 × 188, 19 anomalous pixels",
        (File("cat-island.mat", _SM_HAD),),
    ),
    Dataset(
        "sandiego",
        "AVIRIS",
        "100 × 100 × 189, 58 anomalous pixels",
        (File("sandiego.mat", *_SAFRA, "sandiego.mat"),),
    ),
    Dataset(
        "sandiego-224",
        "AVIRIS",
        "100 × 100 × 224, 57 anomalous pixels; the water-vapour and noisy bands are left in",
        (File("sandiego_224bands.mat", *_DSC, "Sandiego.mat"),),
    ),
    Dataset(
        "salinas-implants-14",
        "AVIRIS",
        "126 × 150 × 204, 185 implanted pixels",
        (File("salinas_implants_14.mat", *_LAD, "data/salinas/salinas_impl_14.mat"), _SALINAS_TRUTH),
    ),
    Dataset(
        "salinas-implants-4",
        "AVIRIS",
        "126 × 150 × 204, 185 implanted pixels that are hard to tell from the background",
        (File("salinas_implants_4.mat", *_LAD, "data/salinas/salinas_impl_4.mat"), _SALINAS_TRUTH),
    ),
    Dataset(
        "hydice-v73",
        "HYDICE",
        "another crop, scaled to [0, 1], 80 × 100 × 162, 17 anomalous pixels; a MATLAB v7.3 file",
        (File("hydice_v73.mat", *_AUTO_AD, "data/HYDICE1.mat"),),
    ),
    Dataset(
        "muufl",
        "CASI",
        "MUUFL Gulfport, 51 × 88 × 72, no truth; a mask says which pixels are valid",
        (File("muufl_masked.mat", *_HSI_TOOLKIT, "endmember_extraction/VCA/an_hsi_image_sub_for_demo.mat"),),
    ),
    Dataset(SYNTHETIC, "none", "made on the spot, 64 × 64 × 100, with implanted and sub-pixel anomalies", ()),
)
