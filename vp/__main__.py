"""The command line.  Exit codes: 0 done, 2 bad input (one line), 1 anything else."""

import argparse
import os
import sys

import vp
from vp.errors import InputError


def parser():
    p = argparse.ArgumentParser(prog="vp", description="VirtualPose notebooks: learn and reproduce absolute 3D human pose from one image.")
    p.add_argument("--version", action="version", version=f"%(prog)s {vp.__version__}")
    sub = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    c = sub.add_parser("reproduce", help="run the notebooks as a batch, resuming where it stopped")
    c.add_argument("--profile", default="auto", help="smoke, quick (default), paper-short, paper; NAME-half, -double: other steps")
    c.add_argument("--only", nargs="+", default=[], action="extend", metavar="NAME",
                   help="only these notebooks (01 is short for 01_pinhole_depth)")
    c.add_argument("--data", nargs="+", default=[], action="extend", metavar="NAME=ROOT", help="real data folders, e.g. panoptic=DIR")
    c.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="seeds of the notebooks that take one (default 0)")
    c.add_argument("--grid", nargs="+", default=[], action="extend", metavar="NAME=V1,V2",
                   help="the notebooks that have this parameter, once for each value (of several parameters: for each combination)")
    c.add_argument("--cores", type=int, help="jobs at once (default: all cores; on a cluster 50)")
    c.add_argument("--gpus", type=int, metavar="N", help="GPUs at most, one a job (default: all; on a cluster none)")
    c.add_argument("--cluster", metavar="DIR", help="a Snakemake profile, e.g. workflow/profiles/slurm: each job runs on the cluster")
    c.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    c.add_argument("--retries", type=int, default=0, metavar="N", help="try a failing notebook again N times")
    c.add_argument("--runs", metavar="DIR", help="where the runs go (default: runs/ of the repository)")

    c = sub.add_parser("train", help="train a second stage on virtual scenes, or with --net 2d a 2D network on pictures")
    c.add_argument("--net", default="second-stage", choices=("second-stage", "2d"), help="what is trained (default: the second stage)")
    c.add_argument("--profile", default="auto", help="smoke, quick (default), paper-short, paper; compact: the shipped model")
    c.add_argument("--poses", nargs="+", default=["procedural"], metavar="SOURCE", help="procedural, bvh:DIR, panoptic:DIR, muco:DIR")
    c.add_argument("--cameras", default="universal", metavar="SOURCE", help="universal, muco, panoptic:14, mupots or FILE.json")
    c.add_argument("--data", nargs="+", default=[], metavar="NAME=DIR",
                   help="of a 2D network: pictures of coco, panoptic, muco in place of their twins'")
    c.add_argument("--imagenet", metavar="FILE", help="of a 2D network: torchvision's ResNet weights to begin with")
    c.add_argument("--seed", type=int, default=0)
    c.add_argument("--resume", action="store_true", help="go on with an interrupted training of the same --out")
    c.add_argument("--out", required=True, metavar="FILE.safetensors")

    c = sub.add_parser("tailor", help="a second stage for one fixed camera, fine-tuned from the shipped one")
    c.add_argument("camera", metavar="CAMERA.json", help="our JSON; its world has Z up, mm, the floor at Z = 0")
    c.add_argument("--poses", nargs="+", default=["procedural"], metavar="SOURCE", help="procedural, bvh:DIR, panoptic:DIR, muco:DIR")
    c.add_argument("--profile", default="auto", help="smoke, quick (default, minutes), paper-short, paper")
    c.add_argument("--view", nargs=2, type=float, metavar=("NEAR", "FAR"),
                   help="mm from the camera, horizontally, between which people are (default: the floor that it sees)")
    c.add_argument("--pitch-error", type=float, default=0.0, metavar="DEG", help="s.d. of the pitch in the file (default 0: exact)")
    c.add_argument("--weights", metavar="FILE.safetensors", help="to begin with (default: the shipped ones)")
    c.add_argument("--seed", type=int, default=0)
    c.add_argument("--resume", action="store_true", help="go on with an interrupted tailoring to the same --out")
    c.add_argument("--out", required=True, metavar="FILE.safetensors")

    c = sub.add_parser("evaluate", help="errors of a second stage on a data set or its twin, beside reference levels")
    c.add_argument("--dataset", required=True, metavar="NAME", help="virtual, panoptic, muco, mupots, coco or bvh")
    c.add_argument("--root", metavar="DIR", help="folder of the data set (default: its virtual twin)")
    c.add_argument("--camera", nargs="+", metavar="ID", help="of the data set (default: those of the test split); of virtual: FILE.json")
    c.add_argument("--agr", default="gt", choices=("gt", "image"), help="from ground truth, or by a 2D network from pictures")
    c.add_argument("--backbone", metavar="FILE.safetensors", help="the 2D network of --agr image (default: the shipped one)")
    c.add_argument("--noise", default="clean", choices=("clean", "published", "detector"), help="of AGR from ground truth")
    c.add_argument("--weights", metavar="FILE.safetensors", help="default: the shipped ones")
    c.add_argument("--scenes", type=int, default=256, metavar="N", help="at most so many scenes or frames")
    c.add_argument("--seed", type=int, default=0)
    c.add_argument("--out", metavar="FILE.json")

    c = sub.add_parser("estimate", help="keypoints of any detector, or a photo, to absolute 3D poses")
    c.add_argument("input", metavar="INPUT", help="COCO annotations or results, OpenPose (file or folder) or mmpose JSON, or a photo")
    c.add_argument("--out", required=True, metavar="FILE.json")
    c.add_argument("--camera", metavar="FILE", help="our JSON, OpenCV's intrinsics, or a Panoptic calibration as FILE:00_16")
    c.add_argument("--focal", type=float, metavar="PX", help="default: EXIF of the photo, else the paper's 1400 px at 1920")
    c.add_argument("--pitch", type=float, metavar="DEG", help="positive looks down; default: fitted to the people")
    c.add_argument("--height", type=float, metavar="MM", help="of the camera above the floor; default: fitted to the people")
    c.add_argument("--weights", metavar="FILE.safetensors", help="default: the shipped ones")
    c.add_argument("--picture", metavar="FILE.png", help="the people in the image, from the side and from above")
    c.add_argument("--html", metavar="FILE.html", help="a page in which they can be turned, without outside resources")
    c.add_argument("--image", metavar="NAME", help="only this image of the file")
    c.add_argument("--photo", metavar="FILE", help="the photo of the keypoints, or a folder of photos named as the images")
    c.add_argument("--size", nargs=2, type=int, metavar=("W", "H"), help="of the image, px, where nothing else says it")
    c.add_argument("--detector", default="own", metavar="WHO",
                   help="who finds people in a photo: own (default), torchvision, or FILE.safetensors of vp train --net 2d")

    c = sub.add_parser("report", help="tables, figures and claims from the rows at hand")
    c.add_argument("--rows", nargs="+", default=[], metavar="DIR", help="files or folders of rows (default: results/)")
    c.add_argument("--out", metavar="DIR", help="default: figures/results/")

    c = sub.add_parser("bench", help="what the parts cost here, as ratios to the literal loops")
    c.add_argument("--json", metavar="FILE")

    c = sub.add_parser("convert", help="a published checkpoint becomes a file of ours")
    c.add_argument("checkpoint", metavar="PUBLISHED.pth.tar")
    c.add_argument("--out", required=True, metavar="FILE.safetensors")

    c = sub.add_parser("check-data", help="what a data folder holds, and a picture of it")
    c.add_argument("name", help="panoptic, muco, mupots, coco or bvh")
    c.add_argument("--root", required=True, metavar="DIR")
    c.add_argument("--picture", metavar="FILE.png")

    c = sub.add_parser("download", help="fetch a data set from its owners, licence first")
    c.add_argument("name", help="panoptic, muco, mupots, coco, bandai or cmu")
    c.add_argument("--to", required=True, metavar="DIR")
    c.add_argument("--sequences", nargs="+", metavar="SEQ", help="only these sequences (panoptic) or picture sets (coco)")
    c.add_argument("--yes", action="store_true", help="accept the terms without being asked")
    return p


def main(argv=None):
    """Run one command; returns the exit code."""
    args = parser().parse_args(argv)
    try:
        return run(args) or 0
    except InputError as e:
        print(f"vp {args.command}: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 1
    except RuntimeError as e:
        print(f"vp {args.command}: {e}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:
        print(f"vp {args.command}: {e.strerror or e}" + (f": {e.filename}" if e.filename else ""), file=sys.stderr)
        return 2 if isinstance(e, (FileExistsError, NotADirectoryError, IsADirectoryError)) else 1


def run(args):
    """Dispatch; each command is imported only when it is called."""
    if args.command == "reproduce":
        from vp.lab import reproduce

        return reproduce.main(args.profile, args.only, args.data, args.seeds, args.cores, args.dry_run, args.retries, args.runs,
                              args.grid, args.gpus, args.cluster)  # fmt: skip
    if args.command == "train":
        if args.net == "2d":
            if args.poses != ["procedural"] or args.cameras != "universal":
                raise InputError("a 2D network learns from pictures, not from poses and cameras", "--net 2d", "give --data, or nothing")
            from vp.lab import backbone

            return backbone.train_main(args.profile, args.data, args.imagenet, args.out, args.resume, args.seed)
        if args.data or args.imagenet:
            raise InputError("pictures are for a 2D network", "--data and --imagenet", "add --net 2d")
        from vp.lab import models

        return models.train_main(args.profile, args.poses, args.cameras, args.out, args.resume, args.seed)
    if args.command == "tailor":
        from vp.lab import tailor

        asked = (args.camera, args.out, args.poses, args.profile, args.weights, args.seed, args.view, args.pitch_error, args.resume)
        return tailor.main(*asked)
    if args.command == "evaluate":
        from vp.lab import evaluation

        asked = (args.dataset, args.root, args.camera, args.agr, args.noise, args.weights, args.scenes, args.seed, args.out, args.backbone)
        return evaluation.main(*asked)
    if args.command == "estimate":
        from vp.lab import estimate

        return estimate.main(args.input, args.out, args.camera, args.focal, args.pitch, args.height, args.weights, args.picture, args.html,
                             args.image, args.photo, args.size, args.detector)  # fmt: skip
    if args.command == "report":
        from vp.lab import report

        return report.main(args.rows, args.out)
    if args.command == "bench":
        from vp.lab import bench

        return bench.main(args.json)
    if args.command == "convert":
        from vp.nets import checkpoints

        facts = checkpoints.convert(args.checkpoint, args.out)
        print(f"{args.out}: {facts['joints']} joints, {', '.join(facts['sections'])}; dropped {', '.join(facts['dropped']) or 'nothing'}")
        return 0
    if args.command == "check-data":
        from vp.lab import check

        print(check.check_data(args.name, args.root, args.picture))
        return 0
    from vp.data import download

    return download.main(args.name, args.to, yes=args.yes, sequences=args.sequences)


if __name__ == "__main__":
    sys.exit(main())
