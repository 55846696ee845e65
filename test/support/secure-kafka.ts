import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KerberosKdc } from '../../src/demo/kerberos-kdc.ts';
import { ensureSystemTools } from '../../src/demo/system-packages.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import type { KafkaTestOptions } from './cluster.ts';
import { AUDIENCE, OAuthServer } from './oauth-server.ts';
import { joinPem, TestAuthority, type Certificate } from './test-authority.ts';

export interface SecureKafkaOptions {
  /** Of sessions of SCRAM and Kerberos (connections.max.reauth.ms). */
  readonly sessionMs: number;
  readonly tokenLifeS: number;
  readonly oauthSecret: string;
}

/**
 * What stands around a Kafka broker with three ways in, all by TLS: SCRAM, with a client certificate besides; OAUTH, whose
 * tokens a real authorization server gives and the broker's own validator looks at; KERBEROS, by a real KDC.
 */
export class SecureKafka implements AsyncDisposable {
  readonly #dir: WorkDir;
  readonly kdc: KerberosKdc;
  readonly oauth: OAuthServer;
  /** Of the brokers' certificates and the clients', to begin with. */
  readonly authority: TestAuthority;
  /** For {@link startKafka}. */
  readonly options: KafkaTestOptions;
  /** Of the user spoor. */
  readonly keytab: string;

  private constructor(parts: Pick<SecureKafka, 'kdc' | 'oauth' | 'authority' | 'options' | 'keytab'>, dir: WorkDir) {
    this.kdc = parts.kdc;
    this.oauth = parts.oauth;
    this.authority = parts.authority;
    this.options = parts.options;
    this.keytab = parts.keytab;
    this.#dir = dir;
  }

  static async start({ sessionMs, tokenLifeS, oauthSecret }: SecureKafkaOptions): Promise<SecureKafka> {
    await ensureSystemTools({ compiler: false, kerberos: true, progress: () => undefined });
    const dir = await WorkDir.create('spoor-test-secure-kafka');
    const { path } = dir;
    const authority = await TestAuthority.create(path, 'first-ca');
    const kdc = await KerberosKdc.start({ dir: join(path, 'kdc') });
    const [brokerKeytab, keytab] = [await kdc.addPrincipal('kafka/127.0.0.1'), await kdc.addPrincipal('spoor')];
    const oauth = await OAuthServer.start({
      ...{ certificate: await authority.issue('oauth'), dir: path, tokenLifeS },
      ...{ clientId: 'spoor', clientSecret: oauthSecret },
    });
    const jwks = `file://${oauth.jwksFile}`;
    const secure = new SecureKafka({ kdc, oauth, authority, keytab, options: {} }, dir);
    await secure.serveAs(await authority.issue('broker'), [authority.cert]);
    const tls = {
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': secure.file('broker-keystore.pem'),
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': secure.file('broker-trusted.pem'),
    };
    const options: KafkaTestOptions = {
      javaOptions: [
        `-Djava.security.krb5.conf=${kdc.env['KRB5_CONFIG']!}`,
        `-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=${jwks}`,
        `-Dorg.apache.kafka.sasl.oauthbearer.allowed.files=${oauth.jwksFile}`,
      ],
      settings: {
        'sasl.oauthbearer.jwks.endpoint.url': jwks,
        'sasl.oauthbearer.expected.audience': AUDIENCE,
        'sasl.kerberos.service.name': 'kafka',
      },
      listeners: {
        SCRAM: {
          protocol: 'SASL_SSL',
          settings: {
            ...tls,
            'ssl.client.auth': 'required',
            'sasl.enabled.mechanisms': 'SCRAM-SHA-512',
            'connections.max.reauth.ms': sessionMs,
            'scram-sha-512.sasl.jaas.config': 'org.apache.kafka.common.security.scram.ScramLoginModule required;',
          },
        },
        OAUTH: {
          protocol: 'SASL_SSL',
          settings: {
            ...tls,
            'sasl.enabled.mechanisms': 'OAUTHBEARER',
            'oauthbearer.sasl.jaas.config':
              'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;',
            'oauthbearer.sasl.server.callback.handler.class':
              'org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler',
          },
        },
        KERBEROS: {
          protocol: 'SASL_SSL',
          settings: {
            ...tls,
            'sasl.enabled.mechanisms': 'GSSAPI',
            'connections.max.reauth.ms': sessionMs,
            'gssapi.sasl.jaas.config':
              'com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true ' +
              `keyTab="${brokerKeytab}" principal="kafka/127.0.0.1@${kdc.realm}";`,
          },
        },
      },
    };
    return new SecureKafka({ kdc, oauth, authority, keytab, options }, dir);
  }

  /** A file in the folder of all this. */
  file(name: string): string {
    return join(this.#dir.path, name);
  }

  /** From its next start on the broker shows this certificate, and takes clients' of these authorities. */
  async serveAs({ cert, key }: Certificate, trusted: readonly string[]): Promise<void> {
    const pem = await Promise.all([readFile(key, 'utf8'), readFile(cert, 'utf8')]);
    await writeFile(this.file('broker-keystore.pem'), pem.join(''));
    await joinPem(this.file('broker-trusted.pem'), trusted);
  }

  /** A CA in another's place. */
  async newAuthority(name: string): Promise<TestAuthority> {
    return TestAuthority.create(this.#dir.path, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.oauth[Symbol.asyncDispose]();
    await this.kdc[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }
}
