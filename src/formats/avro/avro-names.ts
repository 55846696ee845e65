/** How names become such as Avro allows, in Debezium's words (`schema.name.adjustment.mode`). */
export type NameAdjustment = 'avro' | 'avro_unicode' | 'none';

/** A name of a column as a field's. Distinct names may become one: the caller looks. */
export function adjustName(name: string, how: NameAdjustment): string {
  if (how === 'none') return name;
  const adjusted = how === 'avro' ? name.replace(/[^A-Za-z0-9_]/g, '_') : name.replace(/[^A-Za-z0-9]/g, unicodeEscape);
  return /^[0-9]/.test(adjusted) || adjusted === '' ? `_${adjusted}` : adjusted;
}

/** A topic as a namespace: each part between its dots is a name. */
export function adjustNamespace(topic: string, how: NameAdjustment): string {
  return topic
    .split('.')
    .map((part) => adjustName(part, how))
    .join('.');
}

/** Of each UTF-16 unit, and of `_` itself, so that no two names become one. */
function unicodeEscape(character: string): string {
  return `_u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
