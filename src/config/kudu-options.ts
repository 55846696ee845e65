import { resolve } from 'node:path';
import type { SecurityOptions, TextSource } from '../kudu/security/options.ts';
import { missingOf, valueFault, type GivenVariables } from './environment.ts';
import type { VariableName, Variables } from './variables.ts';

/** How Kudu is reached, and as whom. */
export interface KuduOptions extends SecurityOptions {
  /** Each `host:port`. */
  readonly masters: readonly string[];
}

/** Whether the name alone may have to do, so that there has to be one. */
export function isByName(auth: Variables['SPOOR_KUDU_AUTH']): boolean {
  return auth === 'auto' || auth === 'plain';
}

/** @returns null where no masters were given */
export function kuduOptions(values: Variables, { paths }: GivenVariables, cwd: string): KuduOptions | null {
  const { SPOOR_KUDU_MASTERS: masters, SPOOR_KUDU_USER: user } = values;
  if (masters === undefined) return null;
  const { SPOOR_KUDU_PRINCIPAL: principal, SPOOR_KUDU_KEYTAB: keytab } = values;
  const kerberos = {
    ...(principal !== undefined && { principal }),
    ...(keytab !== undefined && { keytab: resolve(cwd, keytab) }),
  };
  /** From a file it is read again whenever it is needed: whoever renews it writes the file. */
  const source = (name: 'SPOOR_KUDU_JWT' | 'SPOOR_KUDU_CA'): TextSource | null => {
    const [file, value] = [paths[name], values[name]];
    if (file !== undefined) return { file };
    return value === undefined ? null : { value };
  };
  const [jwt, ca] = [source('SPOOR_KUDU_JWT'), source('SPOOR_KUDU_CA')];
  return {
    masters,
    ...(user !== undefined && { user }),
    auth: values.SPOOR_KUDU_AUTH,
    encryption: values.SPOOR_KUDU_ENCRYPTION,
    saslProtocolName: values.SPOOR_KUDU_SASL_PROTOCOL_NAME,
    ...(Object.keys(kerberos).length > 0 && { kerberos }),
    ...(jwt && { jwt }),
    ...(ca && { ca }),
  };
}

/** What no single variable can tell, of how Kudu is reached. */
export function kuduFaults(values: Variables, given: GivenVariables): string[] {
  const auth = values.SPOOR_KUDU_AUTH;
  const faults: string[] = [];
  const mustNot = (names: readonly VariableName[], unless: string): void => {
    for (const name of names)
      if (given.names.has(name))
        faults.push(valueFault(name, given, `nothing, unless SPOOR_KUDU_AUTH is ${unless}; it is ${auth}`));
  };
  if (auth === 'jwt')
    faults.push(...missingOf(['SPOOR_KUDU_JWT', 'SPOOR_KUDU_CA'], given, 'goes with SPOOR_KUDU_AUTH=jwt'));
  else mustNot(['SPOOR_KUDU_JWT'], 'jwt');
  // Kafka's Kerberos is the same, whatever Kudu has.
  const isForKafka = values.SPOOR_KAFKA_SASL_MECHANISM === 'gssapi';
  if ((auth === 'jwt' || auth === 'plain') && !isForKafka)
    mustNot(['SPOOR_KUDU_PRINCIPAL', 'SPOOR_KUDU_KEYTAB'], 'auto or kerberos');
  return faults;
}
