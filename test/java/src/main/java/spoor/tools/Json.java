package spoor.tools;

/** Just enough JSON to write a row. */
final class Json {
  private Json() {}

  static String quote(String text) {
    StringBuilder out = new StringBuilder(text.length() + 2).append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        default -> {
          if (c < 0x20 || Character.isSurrogate(c)) {
            out.append(String.format("\\u%04x", (int) c)); // surrogates: a lone one stays what it is
          } else {
            out.append(c);
          }
        }
      }
    }
    return out.append('"').toString();
  }

  /** The number that equals it exactly; what JSON has no number for is a string. */
  static String number(double value) {
    return Double.isFinite(value) ? Double.toString(value) : quote(Double.toString(value));
  }
}
