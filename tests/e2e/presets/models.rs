//! APIs of language models.

use serde_json::{Value, json};

use crate::proof::{Answer, Place, Proof, Route};

fn completion() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    })
}

fn models() -> Value {
    json!({"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]})
}

/// <https://platform.openai.com/docs/api-reference/authentication>
pub(crate) fn openai() -> Proof {
    Proof::new("openai", "sk-proj-{}")
        .refuses(
            401,
            &json!({"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error",
                "param": null, "code": "invalid_api_key"}}),
        )
        .route(Route::new("GET api.openai.com/v1/models").json(&models()))
        .route(
            Route::new("POST api.openai.com/v1/chat/completions")
                .header("content-type", "application/json*")
                .body("\"model\"")
                .json(&completion()),
        )
        .driver("openai_calls.py")
        .also("openai.mjs")
        .set("chat", "POST https://api.openai.com/v1/chat/completions", "GET https://api.openai.com/v1/models")
        .set("images", "POST https://api.openai.com/v1/images/edits", "GET https://api.openai.com/v1/images/edits")
        .set("audio", "POST https://api.openai.com/v1/audio/speech", "POST https://api.openai.com/v1/audio")
        .set("moderation", "POST https://api.openai.com/v1/moderations", "POST https://api.openai.com/v1/moderation")
        .set("embeddings", "POST https://api.openai.com/v1/embeddings", "POST https://api.openai.com/v1/files")
        .set("read", "GET https://api.openai.com/v1/models/m", "POST https://api.openai.com/v1/chat/completions")
}

/// <https://docs.anthropic.com/en/api/overview>: `x-api-key` and `anthropic-version` on every request.
pub(crate) fn anthropic() -> Proof {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "stop_sequence": null, "content": [{"type": "text", "text": "hello"}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    });
    let key = [Place::Header("x-api-key", "{key}")];
    Proof::new("anthropic", "sk-ant-api03-{}")
        .refuses(
            401,
            &json!({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}),
        )
        .route(Route::new("GET api.anthropic.com/v1/models").key(&key).header("anthropic-version", "20*").json(
            &json!({"data": [{"id": "m", "type": "model", "display_name": "M", "created_at": "2026-01-01T00:00:00Z"}],
                    "has_more": false, "first_id": "m", "last_id": "m"}),
        ))
        .route(
            Route::new("POST api.anthropic.com/v1/messages")
                .key(&key)
                .header("anthropic-version", "20*")
                .header("content-type", "application/json")
                .body("\"max_tokens\"")
                .json(&message),
        )
        .driver("anthropic_calls.py")
        .also("anthropic.mjs")
        .also_with("anthropic_calls.py", &[("ANTHROPIC_API_KEY", ""), ("ANTHROPIC_AUTH_TOKEN", "claviger-own-token")])
        .set("chat", "POST https://api.anthropic.com/v1/messages", "GET https://api.anthropic.com/v1/models")
        .set("read", "GET https://api.anthropic.com/v1/models/m", "POST https://api.anthropic.com/v1/messages")
}

/// <https://learn.microsoft.com/azure/ai-foundry/openai/reference>: `api-key`, and `api-version` in the query.
pub(crate) fn azure_openai() -> Proof {
    let key = [Place::Header("api-key", "{key}")];
    let message = "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key \
                   for an active subscription and use a correct regional API endpoint for your resource.";
    Proof::new("azure-openai", "{}00000000")
        .settings("hosts = [\"acme.openai.azure.com\"]")
        .refuses(401, &json!({"error": {"code": "401", "message": message}}))
        .route(
            Route::new("POST acme.openai.azure.com/openai/deployments/gpt/chat/completions")
                .key(&key)
                .query("api-version", "20*")
                .header("content-type", "application/json")
                .body("\"messages\"")
                .json(&completion()),
        )
        .driver_with("azure_openai_calls.py", &AZURE)
        .also_with("azure_openai.mjs", &AZURE)
        .route(
            Route::new("GET acme.openai.azure.com/openai/models").key(&key).query("api-version", "20*").json(&models()),
        )
        .set(
            "chat",
            "POST https://acme.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            "POST https://acme.openai.azure.com/openai/files?api-version=2024-10-21",
        )
        .set(
            "embeddings",
            "POST https://acme.openai.azure.com/openai/deployments/e/embeddings?api-version=2024-10-21",
            "POST https://acme.openai.azure.com/openai/deployments/e/completions?api-version=2024-10-21",
        )
        .set(
            "read",
            "GET https://acme.openai.azure.com/openai/models?api-version=2024-10-21",
            "POST https://acme.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
        )
}

const AZURE: [(&str, &str); 2] =
    [("AZURE_OPENAI_ENDPOINT", "https://acme.openai.azure.com"), ("OPENAI_API_VERSION", "2024-10-21")];

/// <https://ai.google.dev/gemini-api/docs/api-key>. A wrong key is a bad request there, not an unauthorised one.
pub(crate) fn gemini() -> Proof {
    let key = [Place::Header("x-goog-api-key", "{key}")];
    let answer = json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    });
    let model = json!({"name": "models/m", "version": "1", "displayName": "M"});
    Proof::new("gemini", "AIzaSy{}000000000")
        .refuses(
            400,
            &json!({"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}}),
        )
        .route(
            Route::new("POST generativelanguage.googleapis.com/v1/models/m:generateContent")
                .key(&key)
                .header("content-type", "application/json")
                .body("\"contents\"")
                .json(&answer),
        )
        .route(Route::new("GET generativelanguage.googleapis.com/v1/models/m").key(&key).json(&model))
        .driver("gemini_calls.py")
        .route(
            Route::new("GET generativelanguage.googleapis.com/v1beta/models")
                .key(&key)
                .json(&json!({"models": [model]})),
        )
        .set(
            "chat",
            "POST https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
            "POST https://generativelanguage.googleapis.com/v1beta/cachedContents",
        )
        .set(
            "read",
            "GET https://generativelanguage.googleapis.com/v1beta/models",
            "POST https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
        )
}

/// <https://docs.mistral.ai/api/>
pub(crate) fn mistral() -> Proof {
    let mut models = models();
    models["data"][0]["capabilities"] = json!({"completion_chat": true});
    models["data"][0]["type"] = json!("base");
    Proof::new("mistral", "{}00000000")
        .refuses(401, &json!({"detail": "Unauthorized"}))
        .route(Route::new("GET api.mistral.ai/v1/models").json(&models))
        .route(
            Route::new("POST api.mistral.ai/v1/chat/completions")
                .header("content-type", "application/json")
                .body("\"messages\"")
                .json(&completion()),
        )
        .driver("mistral_calls.py")
        .set("chat", "POST https://api.mistral.ai/v1/chat/completions", "POST https://api.mistral.ai/v1/conversations")
        .set("embeddings", "POST https://api.mistral.ai/v1/embeddings", "GET https://api.mistral.ai/v1/embeddings")
        .set("ocr", "POST https://api.mistral.ai/v1/ocr", "POST https://api.mistral.ai/v1/files")
        .set("moderation", "POST https://api.mistral.ai/v1/moderations", "POST https://api.mistral.ai/v1/embeddings")
        .set("read", "GET https://api.mistral.ai/v1/models", "GET https://api.mistral.ai/v1/files")
}

/// <https://console.groq.com/docs/api-reference>
pub(crate) fn groq() -> Proof {
    Proof::new("groq", "gsk_{}0000000000000000000000000000")
        .refuses(
            401,
            &json!({"error": {"message": "Invalid API Key", "type": "invalid_request_error", "code": "invalid_api_key"}}),
        )
        .route(Route::new("GET api.groq.com/openai/v1/models").json(&models()))
        .route(
            Route::new("POST api.groq.com/openai/v1/chat/completions")
                .header("content-type", "application/json")
                .body("\"messages\"")
                .json(&completion()),
        )
        .driver("groq_calls.py")
        .set("chat", "POST https://api.groq.com/openai/v1/chat/completions", "POST https://api.groq.com/openai/v1/files")
        .set("audio", "POST https://api.groq.com/openai/v1/audio/speech", "POST https://api.groq.com/openai/v1/batches")
        .set("read", "GET https://api.groq.com/openai/v1/models", "GET https://api.groq.com/openai/v1/files")
}

/// <https://openrouter.ai/docs/api-reference/authentication>
pub(crate) fn openrouter() -> Proof {
    Proof::new("openrouter", "sk-or-v1-{}0000000000000000000000000000000000000000")
        .refuses(401, &json!({"error": {"message": "No auth credentials found", "code": 401}}))
        .route(
            Route::new("POST openrouter.ai/api/v1/chat/completions")
                .header("content-type", "application/json")
                .body("\"messages\"")
                .json(&completion()),
        )
        .driver("openrouter_calls.py")
        .route(Route::new("GET openrouter.ai/api/v1/key").json(&json!({"data": {"label": "k", "usage": 0}})))
        .set("chat", "POST https://openrouter.ai/api/v1/chat/completions", "POST https://openrouter.ai/api/v1/keys")
        .set("embeddings", "POST https://openrouter.ai/api/v1/embeddings", "POST https://openrouter.ai/api/v1/keys")
        .set("read", "GET https://openrouter.ai/api/v1/models", "GET https://openrouter.ai/api/v1/keys")
}

/// <https://huggingface.co/docs/hub/security-tokens>, <https://huggingface.co/docs/inference-providers>
pub(crate) fn huggingface() -> Proof {
    let file = Answer::new(200, "text/plain", "{}")
        .header("etag", "\"0123456789abcdef0123456789abcdef01234567\"")
        .header("x-repo-commit", "fedcba9876543210fedcba9876543210fedcba98");
    Proof::new("huggingface", "hf_{}0000000000")
        .refuses(401, &json!({"error": "Invalid username or password."}))
        .route(
            Route::new("GET huggingface.co/api/whoami-v2")
                .json(&json!({"type": "user", "name": "acme", "auth": {"accessToken": {"role": "read"}}})),
        )
        .route(
            Route::new("GET huggingface.co/api/models/acme/small").json(
                &json!({"_id": "1", "id": "acme/small", "modelId": "acme/small", "private": true, "siblings": [],
                    "sha": "fedcba9876543210fedcba9876543210fedcba98", "tags": [], "downloads": 0, "likes": 0}),
            ),
        )
        .route(Route::new("HEAD huggingface.co/acme/small/resolve/main/config.json").answer(file.clone()))
        .route(Route::new("GET huggingface.co/acme/small/resolve/main/config.json").answer(file))
        .route(
            Route::new("POST router.huggingface.co/v1/chat/completions")
                .header("content-type", "application/json")
                .body("\"messages\"")
                .json(&completion()),
        )
        .driver("huggingface_calls.py")
        // What stores large files takes a token of its own, which the hub issues: <https://huggingface.co/docs/xet/auth>.
        .route(Route::new("GET huggingface.co/api/models/acme/small/xet-read-token/main").json(
            &json!({"accessToken": "xet-of-minutes", "casUrl": "https://cas-server.xethub.hf.co", "exp": 4_000_000_000_u64}),
        ))
        .route(
            Route::new("GET cas-server.xethub.hf.co/v1/reconstructions/0123")
                .key(&[Place::Header("authorization", "Bearer xet-of-minutes")])
                .json(&json!({"terms": []})),
        )
        .driver("huggingface_xet.sh")
        // For its `User-Agent`: what agents there are.
        .route(Route::new("GET huggingface.co/api/agent-harnesses").json(&json!({})))
        .set("read", "GET https://huggingface.co/api/models/acme/small", "POST https://huggingface.co/api/repos/create")
        .set(
            "download",
            "GET https://cas-bridge.xethub.hf.co/xet-bridge-us/1/2",
            "GET https://huggingface.co/api/settings/tokens",
        )
        .set(
            "chat",
            "POST https://router.huggingface.co/v1/chat/completions",
            "POST https://router.huggingface.co/v1/files",
        )
}

/// <https://github.com/ggml-org/llama.cpp/tree/master/tools/server>: `--api-key`.
pub(crate) fn llama_cpp() -> Proof {
    local("llama-cpp", "localhost:8080", "LLAMA_API_KEY")
        .route(Route::new("GET localhost:8080/props").json(&json!({"total_slots": 1})))
        .set("chat", "POST http://localhost:8080/v1/chat/completions", "POST http://localhost:8080/props")
        .set("embeddings", "POST http://localhost:8080/v1/embeddings", "POST http://localhost:8080/lora-adapters")
        .set("read", "GET http://localhost:8080/v1/models", "GET http://localhost:8080/slots")
}

/// <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>: `--api-key`.
pub(crate) fn vllm() -> Proof {
    local("vllm", "localhost:8000", "VLLM_API_KEY")
        .set(
            "chat",
            "POST http://localhost:8000/v1/chat/completions",
            "POST http://localhost:8000/v1/load_lora_adapter",
        )
        .set("embeddings", "POST http://localhost:8000/v1/embeddings", "POST http://localhost:8000/sleep")
        .set("read", "GET http://localhost:8000/v1/models", "GET http://localhost:8000/metrics")
}

/// <https://docs.ollama.com/api/openai-compatibility>, <https://docs.ollama.com/api/authentication>
pub(crate) fn ollama() -> Proof {
    local("ollama", "localhost:11434", "OLLAMA_API_KEY")
        .route(Route::new("GET localhost:11434/api/tags").json(&json!({"models": []})))
        .set("chat", "POST http://localhost:11434/api/chat", "POST http://localhost:11434/api/pull")
        .set("embeddings", "POST http://localhost:11434/api/embed", "DELETE http://localhost:11434/api/delete")
        .set("read", "GET http://localhost:11434/api/tags", "POST http://localhost:11434/api/create")
}

/// A server on this machine that speaks as OpenAI does, in clear text.
fn local(preset: &'static str, host: &'static str, variable: &'static str) -> Proof {
    let calls: [&'static str; 2] = match host {
        "localhost:8080" => ["GET localhost:8080/v1/models", "POST localhost:8080/v1/chat/completions"],
        "localhost:8000" => ["GET localhost:8000/v1/models", "POST localhost:8000/v1/chat/completions"],
        _ => ["GET localhost:11434/v1/models", "POST localhost:11434/v1/chat/completions"],
    };
    let base: &'static str = match host {
        "localhost:8080" => "http://localhost:8080/v1",
        "localhost:8000" => "http://localhost:8000/v1",
        _ => "http://localhost:11434/v1",
    };
    Proof::new(preset, "local-{}")
        .cleartext()
        .refuses(401, &json!({"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}))
        .route(Route::new(calls[0]).json(&models()))
        .route(Route::new(calls[1]).header("content-type", "application/json").body("\"messages\"").json(&completion()))
        .driver_with("local_llm_calls.py", &[("BASE_URL", base), ("KEY", variable)])
}
