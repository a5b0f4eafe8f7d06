// octokit, the official SDK: a repository, a new issue, an asset of a release, which goes to another host.
import { Octokit } from "octokit";

async function* calls() {
    const octokit = new Octokit({ auth: process.env.GITHUB_TOKEN, retry: { enabled: false }, throttle: { enabled: false } });
    const at = { owner: "acme", repo: "notes" };
    yield (await octokit.rest.repos.get(at)).data;
    yield (await octokit.rest.issues.create({ ...at, title: "A title" })).data;
    yield (await octokit.rest.repos.getRelease({ ...at, release_id: 1 })).data;
    const data = "an asset";
    yield (await octokit.rest.repos.uploadReleaseAsset({ ...at, release_id: 1, name: "asset.txt", data, headers: { "content-type": "text/plain" } })).data;
}
