const TWO = '  ';

/**
 * A JSON document over several lines. Nothing of it is read as a number: a reader of JavaScript would show another INT64 beyond
 * 2^53 than the one that stands there. What is no JSON comes out with its own characters, somehow broken into lines.
 */
export function indented(json: string): string {
  let out = '';
  let depth = 0;
  const line = (): string => `\n${TWO.repeat(Math.max(depth, 0))}`;
  // Texts whole, then what opens and closes, then all else; empty pairs stay together, and white space is made anew.
  for (const [part] of json.matchAll(/"(?:[^"\\]|\\[^])*"?|\{\s*\}|\[\s*\]|[{}[\],:]|[^\s"{}[\],:]+/g))
    switch (part.charAt(0)) {
      case '{':
      case '[':
        if (part.length > 1) {
          out += part.charAt(0) + part.at(-1)!;
          break;
        }
        depth++;
        out += part + line();
        break;
      case '}':
      case ']':
        depth--;
        out += line() + part;
        break;
      case ',':
        out += part + line();
        break;
      case ':':
        out += ': ';
        break;
      default:
        out += part;
    }
  return out;
}
