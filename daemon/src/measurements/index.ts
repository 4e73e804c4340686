/** Pulls and starts for the sake of what they take, within bounds, that leave nothing behind. */
export {
  type Measured,
  type MeasurementRequest,
  Measurements,
  type MeasurementsModules,
} from './measurements.ts';
export { MEASUREMENT_DEFAULTS, type MeasurementOptions } from './options.ts';
