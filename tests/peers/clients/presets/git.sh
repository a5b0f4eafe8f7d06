# git: clones REPOSITORY, commits, pushes and clones again to see it there. Nobody is asked and no helper knows a password.
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=tester GIT_AUTHOR_EMAIL=tester@example.test GIT_COMMITTER_NAME=tester GIT_COMMITTER_EMAIL=tester@example.test
git clone --quiet "$REPOSITORY" work
cd work
echo "$PWD" >note.txt
git add note.txt
git commit --quiet --message "Add a note"
git push --quiet origin HEAD
cd ..
git clone --quiet "$REPOSITORY" again
cmp work/note.txt again/note.txt
