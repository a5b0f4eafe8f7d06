#!/bin/sh
# Clones a repository by its URL, pushes a commit to a branch that is not there, clones it and prints what stands there.
set -eu
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=tester GIT_AUTHOR_EMAIL=tester@example.test
export GIT_COMMITTER_NAME=tester GIT_COMMITTER_EMAIL=tester@example.test

git clone --quiet "$1/notes.git" work
cd work
echo more >more.txt
git add more.txt
git commit --quiet --message "Add more"
branch=more-$$
git push --quiet origin HEAD:refs/heads/$branch
cd ..
git clone --quiet --branch $branch "$1/notes.git" again
cat again/said.txt
