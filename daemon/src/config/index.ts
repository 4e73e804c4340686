import { DEFAULT_CONFIG_PATH } from '@drakkar/client';
import { defineConfiguration } from '@drakkar/service';
import { examine } from './examine.ts';
import { configSchema } from './schema.ts';

/** Configuration: one schema with its defaults, from which files are checked and the documentation is printed. */
export const configuration = defineConfiguration({
  schema: configSchema,
  examine,
  defaultPath: DEFAULT_CONFIG_PATH,
  title: 'Configuration',
  about: [
    'One YAML file, `/etc/drakkar/config.yaml` or the one given with `--config`. Every key may be left out.',
    '`drakkar config default` prints it whole with its defaults; `drakkar config check FILE` says all that is wrong in one.',
    'Sizes in bytes may be written as `10GiB` or `500MB`.',
  ],
  source: 'daemon/src/config/schema.ts by `drakkar config document`',
  documentedIn: 'docs/configuration.md',
  defaultCommand: 'drakkar config default',
  other: { whose: 'a supernode’s', settings: ['address', 'port', 'maxHosts', 'membershipMs', 'grantMs'] },
});

export { examineSurroundings } from './examine.ts';
export type { Config, RawConfig } from './schema.ts';
