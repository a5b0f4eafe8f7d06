import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;

/** One call of one of Java's own clients. Usage: java Http.java CLIENT BASE_URL. Prints what the origin answered. */
final class Http {
    private static final String BEARER = "Bearer " + System.getenv("API_KEY");

    public static void main(String[] args) throws Exception {
        String url = args[1] + "/v1/said";
        System.out.println(args[0].equals("HttpClient") ? httpClient(url) : httpUrlConnection(url));
    }

    private static String httpClient(String url) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(url)).header("Authorization", BEARER).build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException(answer.statusCode() + " " + answer.body());
        }
        return answer.body();
    }

    private static String httpUrlConnection(String url) throws IOException {
        var connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setRequestProperty("Authorization", BEARER);
        try (var body = connection.getInputStream()) {
            return new String(body.readAllBytes(), StandardCharsets.UTF_8);
        }
    }
}
