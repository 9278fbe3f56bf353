/** The page of the sample in React. */
import 'uplot/dist/uPlot.min.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { byId } from './element.js';
import { Floor } from './react/floor.js';

createRoot(byId('root', HTMLElement)).render(
  <StrictMode>
    <Floor />
  </StrictMode>,
);
