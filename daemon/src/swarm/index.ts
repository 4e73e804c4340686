/** How a host gets pieces from its peers, and gives them: pure cores so far, which bench/src/simulator runs. */
export { PiecePicker } from './picker.ts';
export { SuperSeed } from './super-seed.ts';
