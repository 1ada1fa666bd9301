#!/usr/bin/env bash
# sphinx-exercise 1.2.1 beside sphinx-design 0.8.0, in Sphinx 7.4.7: a page with a card builds as `html`, and as
# `singlehtml` only until sphinx-exercise is switched on, though the page holds no exercise.
#
# Sphinx looks for a node's visitors under the builder's own name first, and under its format only where *nobody* has
# registered anything under that name. sphinx-exercise registers its nodes for `singlehtml`; from then on the nodes of
# every extension that said `html` alone are unknown there. So a course in Jupyter Book, which brings both, can show
# cards on its site and not print itself from one page. The cure for one's own nodes is to register them under both.
# Seen on Python 3.11: "html: builds, builds; singlehtml: builds, unknown node type: PassthroughTextElement".
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    sphinx==7.4.7 sphinx-design==0.8.0 sphinx-exercise==1.2.1
printf 'A page\n======\n\n.. card:: A card\n\n   Its words.\n' > "$folder/index.rst"
touch "$folder/conf.py"
build() {
    local said
    said=$("$folder/venv/bin/sphinx-build" -q -b "$1" -D "extensions=$2" "$folder" "$folder/$1-$2" 2>&1) &&
        echo builds || grep -o 'unknown node type: [A-Z][A-Za-z]*' <<<"$said" | head -1
}
seen="html: $(build html sphinx_design), $(build html sphinx_design,sphinx_exercise);"
seen+=" singlehtml: $(build singlehtml sphinx_design), $(build singlehtml sphinx_design,sphinx_exercise)"
echo "$seen"
[ "$seen" = "html: builds, builds; singlehtml: builds, unknown node type: PassthroughTextElement" ] ||
    { echo "this has changed"; exit 1; }
