/* Camera and inertial sensor as the loop sees them. */
#ifndef HC_NODE_SENSORS_H
#define HC_NODE_SENSORS_H

#include "node.h"

/* There is a picture, or the camera's state has changed. */
void sensors_hear_camera(node_t *node);

/* Start, stop, and start anew what fell silent. */
void sensors_tend_imu(node_t *node, uint64_t now_ns);

/* `events` as poll gave them. */
void sensors_hear_imu(node_t *node, short events, uint64_t now_ns);

#endif
