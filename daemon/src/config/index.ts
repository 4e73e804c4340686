/** Configuration: one schema with its defaults, from which files are checked and the documentation is printed. */
export { configurationDocument, defaultConfigYaml } from './describe.ts';
export { completeConfig, loadConfig } from './load.ts';
export type { Config, RawConfig } from './schema.ts';
