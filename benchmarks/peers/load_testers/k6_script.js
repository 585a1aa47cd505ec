// k6 with constant arrival rate (RATE) or with a number of users (USERS).
import http from 'k6/http';

const seconds = `${__ENV.SECONDS}s`;

export const options = {
  summaryTrendStats: ['avg', 'p(50)', 'p(99)', 'max'],
  discardResponseBodies: true,
  scenarios: {
    load: __ENV.RATE
      ? { executor: 'constant-arrival-rate', rate: Number(__ENV.RATE), timeUnit: '1s', duration: seconds,
          preAllocatedVUs: 300, maxVUs: 2000 }
      : { executor: 'constant-vus', vus: Number(__ENV.USERS), duration: seconds },
  },
};

export default function () {
  http.get(__ENV.URL);
}
