/** Shorter ones would blot out harmless words. */
const MIN_SECRET_LENGTH = 4;
/** Of a key in PEM each line tells a part of it. */
const MIN_LINE_LENGTH = 24;

/**
 * Takes secrets out of text by their values, as errors of libraries quote what they were given: as they are, as they stand
 * in JSON, and as they stand in a URL. It knows more of them as time goes on.
 */
export class SecretMask {
  readonly #forms = new Set<string>();

  constructor(...secrets: readonly string[]) {
    this.add(...secrets);
  }

  add(...secrets: readonly string[]): void {
    for (const secret of secrets.filter(({ length }) => length >= MIN_SECRET_LENGTH)) {
      for (const form of [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])
        this.#forms.add(form);
      const lines = secret.split(/\r?\n/);
      if (lines.length > 1)
        for (const line of lines)
          if (line.length >= MIN_LINE_LENGTH && !line.startsWith('-----')) this.#forms.add(line);
    }
  }

  readonly apply = (text: string): string => {
    let masked = text;
    for (const form of this.#forms) masked = masked.replaceAll(form, '***');
    return masked;
  };
}
