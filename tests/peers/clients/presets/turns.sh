# What the shell clients of the presets share: each line on stdin is a turn, in which the script is run in a new folder.
while read -r _; do
    folder=$(mktemp -d "$HOME/turn.XXXXXX")
    if (cd "$folder" && exec /bin/sh -eu "$1") </dev/null 2>&1; then outcome=done; else outcome=failed; fi
    printf '\nturn: %s\n' "$outcome"
done
