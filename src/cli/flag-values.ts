import { CliError } from './cli-error.ts';

/** Text that is no number goes to the API as it is, whose answer names the field and what is allowed. */
export function toNumber(text: string): number | string {
  return /^-?\d+$/.test(text) ? Number(text) : text;
}

/** @param given `name=value` each */
export function settingsOf(flag: string, given: readonly string[]): (readonly [name: string, value: string])[] {
  return given.map((setting) => {
    const at = setting.indexOf('=');
    if (at < 1) throw new CliError(2, `${flag} is given as <name>=<value>, not ${JSON.stringify(setting)}`);
    return [setting.slice(0, at), setting.slice(at + 1)] as const;
  });
}

export function withoutUndefined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
