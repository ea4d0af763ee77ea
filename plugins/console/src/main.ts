import { bootstrapApplication } from '@angular/platform-browser';
import { App } from './app/app';
import { appConfig } from './app/app.config';
import { applyTheme } from './app/core/theme';

applyTheme();
bootstrapApplication(App, appConfig).catch((error) => console.error(error));
