import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.LinkedHashSet;
import java.util.Set;

/**
 * Pushes with the JDK's own HttpURLConnection, as test/clients/README.md has it, and with the paths, the content type
 * and the timeouts of the Java clients, all of which are built on it.
 */
public class Client {
  private static final int TIMEOUT_MS = 10_000;

  public static void main(String[] args) throws IOException {
    int status;
    String why;
    try {
      HttpURLConnection connection = send(args);
      status = connection.getResponseCode();
      InputStream error = connection.getErrorStream();
      why = error == null ? "" : new String(error.readAllBytes(), StandardCharsets.UTF_8).strip();
    } catch (IOException e) {
      System.out.println("unanswered " + e);
      System.exit(2);
      return;
    }
    if (status / 100 != 2) {
      System.out.println("refused " + status + " " + why);
      System.exit(1);
    }
    System.out.println("taken");
  }

  private static HttpURLConnection send(String[] args) throws IOException {
    StringBuilder url = new StringBuilder(args[1]).append("/metrics").append(component("job", args[2]));
    for (int i = 3; i < args.length; i++) {
      String[] label = args[i].split("=", 2);
      url.append(component(label[0], label[1]));
    }
    boolean delete = args[0].equals("delete");
    byte[] body = delete ? null : exposition(new String(System.in.readAllBytes(), StandardCharsets.UTF_8));

    HttpURLConnection connection = (HttpURLConnection) new URL(url.toString()).openConnection();
    connection.setRequestProperty("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    connection.setDoOutput(!delete);
    connection.setRequestMethod(delete ? "DELETE" : args[0].equals("add") ? "POST" : "PUT");
    connection.setConnectTimeout(TIMEOUT_MS);
    connection.setReadTimeout(TIMEOUT_MS);
    connection.connect();
    if (!delete) {
      try (OutputStream out = connection.getOutputStream()) {
        out.write(body);
      }
    }
    return connection;
  }

  private static String component(String name, String value) throws IOException {
    if (value.isEmpty()) {
      return "/" + name + "@base64/=";
    }
    if (value.contains("/")) {
      return "/" + name + "@base64/" + Base64.getUrlEncoder().encodeToString(value.getBytes(StandardCharsets.UTF_8));
    }
    return "/" + name + "/" + URLEncoder.encode(value, StandardCharsets.UTF_8);
  }

  /** Makes a gauge of each name. */
  private static byte[] exposition(String lines) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Set<String> typed = new LinkedHashSet<>();
    for (String line : lines.split("\n")) {
      String[] fields = line.split(" ");
      String text = typed.add(fields[0]) ? "# TYPE " + fields[0] + " gauge\n" : "";
      text += fields[0] + "{part=\"" + fields[1] + "\",} " + fields[2] + "\n";
      out.write(text.getBytes(StandardCharsets.UTF_8));
    }
    return out.toByteArray();
  }
}
