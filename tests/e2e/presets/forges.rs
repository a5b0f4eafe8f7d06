//! Forges: an API and git, behind several hosts with one credential.

use serde_json::{Value, json};

use crate::git::Repositories;
use crate::proof::{Answer, Place, Proof, Route};

/// The three calls of a clone, and those of a push.
fn git(proof: Proof, calls: [&'static str; 3], key: &[Place], repository: &str) -> Proof {
    let repositories = Repositories::with(repository);
    calls.into_iter().fold(proof, |proof, call| {
        let repositories = repositories.clone();
        proof.route(Route::new(call).key(key).answers(move |asked| repositories.answer(&asked)))
    })
}

/// <https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api>; every request has a `User-Agent`
/// (<https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api#user-agent>). Git over HTTPS:
/// <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation>.
pub(crate) fn github() -> Proof {
    let api = |call: &'static str, status: u16, answer: &Value| {
        Route::new(call).header("user-agent", "*").answer(Answer::json(status, answer))
    };
    let repository = json!({"id": 1, "name": "notes", "full_name": "acme/notes", "private": true,
        "url": "https://api.github.com/repos/acme/notes"});
    let issue =
        json!({"id": 1, "number": 1, "title": "A title", "url": "https://api.github.com/repos/acme/notes/issues/1"});
    let release = json!({"id": 1, "tag_name": "v1", "url": "https://api.github.com/repos/acme/notes/releases/1",
        "upload_url": "https://uploads.github.com/repos/acme/notes/releases/1/assets{?name,label}"});
    let asset =
        json!({"id": 1, "name": "asset.txt", "url": "https://api.github.com/repos/acme/notes/releases/assets/1"});
    let proof = Proof::new("github", "ghp_{}000000000000")
        .refuses(
            401,
            &json!({"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"}),
        )
        .route(api("GET api.github.com/repos/acme/notes", 200, &repository))
        .route(api("POST api.github.com/repos/acme/notes/issues", 201, &issue).body("A title"))
        .route(api("GET api.github.com/repos/acme/notes/releases/1", 200, &release))
        .route(
            api("POST uploads.github.com/repos/acme/notes/releases/1/assets", 201, &asset)
                .query("name", "asset.txt")
                .header("content-type", "text/plain")
                .body("an asset"),
        )
        .driver("github_calls.py")
        .also("github.mjs")
        .route(
            Route::new("GET raw.githubusercontent.com/acme/notes/main/README.md")
                .answer(Answer::new(200, "text/plain", "# Notes\n")),
        )
        .driver("github_raw.sh");
    let calls = [
        "GET github.com/acme/notes.git/info/refs",
        "POST github.com/acme/notes.git/git-upload-pack",
        "POST github.com/acme/notes.git/git-receive-pack",
    ];
    git(proof, calls, &[Place::Basic("x-access-token:{key}")], "acme/notes.git")
        .driver_with("git.sh", &[("REPOSITORY", "https://github.com/acme/notes.git")])
        .route(api("GET api.github.com/rate_limit", 200, &json!({"resources": {}})))
        .set("read", "GET https://api.github.com/repos/acme/notes", "POST https://api.github.com/graphql")
        .set("read", "GET https://api.github.com/search/code?q=x", "PUT https://api.github.com/repos/acme/notes/topics")
        .set(
            "issues",
            "POST https://api.github.com/repos/acme/notes/issues",
            "PUT https://api.github.com/repos/acme/notes/issues/1/lock",
        )
        .set(
            "pulls",
            "POST https://api.github.com/repos/acme/notes/pulls",
            "PUT https://api.github.com/repos/acme/notes/pulls/1/merge",
        )
        .set(
            "fetch",
            "GET https://github.com/acme/notes.git/info/refs?service=git-upload-pack",
            "POST https://github.com/acme/notes.git/git-receive-pack",
        )
        .set(
            "push",
            "POST https://github.com/acme/notes.git/git-receive-pack",
            "DELETE https://api.github.com/repos/acme/notes",
        )
        .set(
            "raw",
            "GET https://raw.githubusercontent.com/acme/notes/main/README.md",
            "GET https://api.github.com/user",
        )
}

/// <https://docs.gitlab.com/api/rest/authentication/>; git: <https://docs.gitlab.com/user/profile/personal_access_tokens/>.
pub(crate) fn gitlab() -> Proof {
    let project = json!({"id": 1, "name": "notes", "path_with_namespace": "acme/notes"});
    let issue = json!({"id": 1, "iid": 1, "project_id": 1, "title": "A title"});
    // Both places at once: the API reads the one, git the other, and neither minds what the other reads.
    let key = [Place::Header("private-token", "{key}"), Place::Basic("oauth2:{key}")];
    let proof = Proof::new("gitlab", "glpat-{}")
        .refuses(401, &json!({"message": "401 Unauthorized"}))
        .route(Route::new("GET gitlab.com/api/v4/projects/acme%2Fnotes").key(&key).json(&project))
        .route(
            Route::new("POST gitlab.com/api/v4/projects/1/issues")
                .key(&key)
                .body("A title")
                .answer(Answer::json(201, &issue)),
        )
        .driver("gitlab_calls.py");
    let calls = [
        "GET gitlab.com/acme/notes.git/info/refs",
        "POST gitlab.com/acme/notes.git/git-upload-pack",
        "POST gitlab.com/acme/notes.git/git-receive-pack",
    ];
    git(proof, calls, &key, "acme/notes.git")
        .driver_with("git.sh", &[("REPOSITORY", "https://gitlab.com/acme/notes.git")])
        .route(
            Route::new("GET gitlab.com/api/v4/personal_access_tokens/self")
                .key(&key)
                .json(&json!({"id": 1, "active": true})),
        )
        .set(
            "read",
            "GET https://gitlab.com/api/v4/projects/acme%2Fnotes",
            "GET https://gitlab.com/api/v4/projects/acme%2Fnotes/variables",
        )
        .set("read", "GET https://gitlab.com/api/v4/projects/1/issues", "POST https://gitlab.com/api/graphql")
        .set(
            "issues",
            "POST https://gitlab.com/api/v4/projects/1/issues",
            "DELETE https://gitlab.com/api/v4/projects/1/issues/1",
        )
        .set(
            "merge-requests",
            "POST https://gitlab.com/api/v4/projects/1/merge_requests",
            "PUT https://gitlab.com/api/v4/projects/1/merge_requests/1/merge",
        )
        .set(
            "fetch",
            "POST https://gitlab.com/acme/tools/notes.git/git-upload-pack",
            "POST https://gitlab.com/acme/tools/notes.git/git-receive-pack",
        )
        .set(
            "push",
            "POST https://gitlab.com/acme/notes.git/git-receive-pack",
            "GET https://gitlab.com/api/v4/projects",
        )
}
