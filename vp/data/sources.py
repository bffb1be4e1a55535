"""The data sets of `vp download`: their terms in our words, the owners' addresses, what must be fetched by hand."""

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file of a data set; "{part}" stands for the sequence.  address: below the base;  place: below the folder."""

    address: str
    place: str
    checksum: str | None = None  # "md5:..." or "sha256:..."; None: the owner publishes none
    otherwise: str | None = None  # another address to try if the server does not have this one; goes into the same folder


@dataclass(frozen=True)
class Source:
    """A data set: its terms in our words, where the full text is, and either files to fetch or what to do by hand."""

    title: str
    terms: str
    full_text: str
    base: str = ""
    files: tuple = ()  # archives are unpacked where they lie
    parts: tuple = ()  # default sequences
    part_pattern: str = ""
    by_hand: str = ""


_PANOPTIC_PARTS = (  # the paper's four activities (§3.1), from the owners' list of sequences
    "160224_haggling1", "160226_haggling1", "160422_haggling1", "160224_mafia1", "160224_mafia2", "160226_mafia1", "160226_mafia2",
    "160422_mafia2", "160224_ultimatum1", "160224_ultimatum2", "160226_ultimatum1", "160422_ultimatum1", "160906_pizza1",
)  # fmt: skip

COCO_MD5 = {"train2017": "cced6f7f71b7629ddf16f17bbcfab6b2", "val2017": "442b8da7639aecaf257c1dceb8ba8c80"}

SOURCES = {
    "panoptic": Source(
        "CMU Panoptic Studio",
        "Free for non-commercial use and research only. Whoever uses it cites one of the owners' papers (such as Joo et al., ICCV 2015).",
        "https://github.com/CMU-Perceptual-Computing-Lab/panoptic-toolbox (License) and http://domedb.perception.cs.cmu.edu",
        "http://domedb.perception.cs.cmu.edu/webdata/dataset",
        (
            File("{part}/calibration_{part}.json", "{part}/calibration_{part}.json"),
            File("{part}/hdPose3d_stage1_coco19.tar", "{part}/hdPose3d_stage1_coco19.tar", otherwise="{part}/hdPose3d_stage1.tar"),
        ),
        _PANOPTIC_PARTS,
        r"\d{6}_[A-Za-z0-9_]+",
        "Images, if you need them: the owners give videos, one per camera and gigabytes each. For sequence SEQ and camera 16:\n"
        "  http://domedb.perception.cs.cmu.edu/webdata/dataset/SEQ/videos/hd_shared_crf20/hd_00_16.mp4\n"
        "  mkdir -p {to}/SEQ/hdImgs/00_16\n"
        "  ffmpeg -i hd_00_16.mp4 -q:v 1 -start_number 0 {to}/SEQ/hdImgs/00_16/00_16_%08d.jpg",
    ),
    "coco": Source(
        "COCO 2017",
        "Annotations: Creative Commons Attribution 4.0. Images: they belong to their Flickr authors and stay under Flickr's terms and the\n"
        "licence named in each image's record; you answer for your use of them.",
        "https://cocodataset.org/#termsofuse",
        "http://images.cocodataset.org",
        (
            File("annotations/annotations_trainval2017.zip", "annotations_trainval2017.zip", "md5:f4bbac642086de4f52a3fdda2de5fa2c"),
            File("zips/{part}.zip", "{part}.zip", "md5:{md5}"),
        ),
        ("val2017",),
        "train2017|val2017",
        "The training images (19 GB) come with --sequences train2017 val2017.",
    ),
    "mupots": Source(
        "MuPoTS-3D",
        "For research. Whoever uses it cites Mehta et al., 3DV 2018. What the owners write on their page and in the archive decides.",
        "http://gvv.mpi-inf.mpg.de/projects/SingleShotMultiPerson/",
        "http://gvv.mpi-inf.mpg.de/projects/SingleShotMultiPerson",
        (File("MultiPersonTestSet.zip", "MultiPersonTestSet.zip"),),
        by_hand="Not in the archive (about 6 GB): camera extrinsics. Put a cameras.json with the 20 sequences' R and t into {to}.\n"
        'Optional: MuPoTS-3D.json of https://github.com/mks0601/3DMPPE_ROOTNET_RELEASE ("MuPoTS parsed data"), into {to}.',
    ),
    "muco": Source(
        "MuCo-3DHP, composited by the authors of RootNet",
        "For research. It is made from MPI-INF-3DHP, whose licence applies as well. Cite Mehta et al., 3DV 2018 and 3DV 2017, and Moon\n"
        "et al., ICCV 2019. What the owners write on their pages decides.",
        "http://gvv.mpi-inf.mpg.de/projects/SingleShotMultiPerson/ and http://gvv.mpi-inf.mpg.de/3dhp-dataset/",
        by_hand="To fetch by hand:\n"
        "  1. read and accept the licence of MPI-INF-3DHP on the page above;\n"
        '  2. on https://github.com/mks0601/3DMPPE_ROOTNET_RELEASE follow "MuCo parsed and composited data": annotations\n'
        "     MuCo-3DHP.json and two archives of images, augmented and unaugmented (large; poses alone work without them);\n"
        "  3. put them here:\n"
        "     {to}/MuCo-3DHP.json\n"
        "     {to}/augmented_set/  {to}/unaugmented_set/  (the images)",
    ),
    "bandai": Source(
        "Bandai-Namco-Research-Motiondataset 1 and 2 (BVH)",
        "Creative Commons Attribution-NonCommercial 4.0: name the source, no commercial use. Copyright Bandai Namco Research Inc.; cite\n"
        "Kobayashi et al., 2023 (arXiv 2306.08861).",
        "https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset (LICENSE beside each data set, which decides)",
        "https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset",
        (File("archive/refs/heads/master.zip", "bandai-master.zip"),),
    ),
    "cmu": Source(
        "CMU Graphics Lab Motion Capture Database (BVH)",
        "Free for all uses, also within products; the data themselves are not to be resold, converted or not. In a publication, say that\n"
        "they are from mocap.cs.cmu.edu and were funded by NSF EIA-0196217.",
        "http://mocap.cs.cmu.edu (start page and FAQs)",
        by_hand="To fetch by hand: the owners give ASF/AMC files and ask not to be crawled. BVH conversions by B. Hahne (cgspeed) are\n"
        "linked from the start page of http://mocap.cs.cmu.edu. Unpack what you want and put the *.bvh files into {to};\n"
        "one length unit of these files is 1/0.45 inch = 56.44 mm, and the first frame of each is a T-pose.",
    ),
}  # fmt: skip
