package spoor.tools;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** {@code --name value} pairs. */
final class Arguments {
  private final Map<String, String> values = new LinkedHashMap<>();
  private final Set<String> used = new HashSet<>();

  Arguments(String[] argv) {
    for (int i = 0; i < argv.length; i += 2) {
      if (!argv[i].startsWith("--") || i + 1 == argv.length) {
        throw new IllegalArgumentException("want --name value, not " + argv[i]);
      }
      values.put(argv[i].substring(2), argv[i + 1]);
    }
  }

  String text(String name) {
    String value = values.get(name);
    if (value == null) {
      throw new IllegalArgumentException("--" + name + " is missing");
    }
    used.add(name);
    return value;
  }

  String text(String name, String otherwise) {
    return values.containsKey(name) ? text(name) : otherwise;
  }

  int number(String name, int otherwise) {
    return values.containsKey(name) ? Integer.parseInt(text(name)) : otherwise;
  }

  long longNumber(String name, long otherwise) {
    return values.containsKey(name) ? Long.parseLong(text(name)) : otherwise;
  }

  void refuseUnused() {
    for (String name : values.keySet()) {
      if (!used.contains(name)) {
        throw new IllegalArgumentException("--" + name + " is unknown");
      }
    }
  }
}
