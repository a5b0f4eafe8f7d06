#!/bin/sh
# Clones a repository, commits a file, pushes, and clones again to see it there. Usage: git_round_trip.sh URL
# Works in the current folder. Prints the last clone's file. No terminal, no credential helper: git may not ask anybody.
set -eu
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=tester GIT_AUTHOR_EMAIL=tester@example.test GIT_COMMITTER_NAME=tester GIT_COMMITTER_EMAIL=tester@example.test

git clone --quiet "$1" work
cd work
git checkout --quiet -B main
echo "written by a client without a password" >note.txt
git add note.txt
git commit --quiet --message "Add a note"
git push --quiet origin main
cd ..
git clone --quiet --branch main "$1" again
cat again/note.txt
