/* A device that uses Paho C's synchronous client, as its authors show it: a session
   that lasts, one publish after the other with QoS 1 and 2 in turn, a new connection
   whenever one is lost. Usage: publisher URI COUNT; it prints how many it was told
   are delivered. */
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static MQTTClient client;

static void connect_again(void) {
	MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
	options.cleansession = 0;
	options.reliable = 0;
	options.connectTimeout = 5;
	options.retryInterval = 1;
	while (!MQTTClient_isConnected(client) && MQTTClient_connect(client, &options) != MQTTCLIENT_SUCCESS)
		usleep(20000);
}

int main(int argc, char **argv) {
	int n = argc > 2 ? atoi(argv[2]) : 0, i;
	if (MQTTClient_create(&client, argv[1], "paho-c", MQTTCLIENT_PERSISTENCE_NONE, NULL) != MQTTCLIENT_SUCCESS)
		return 1;
	connect_again();
	for (i = 0; i < n; i++) {
		char text[200];
		MQTTClient_deliveryToken token;
		snprintf(text, sizeof text, "{\"waybill_id\":\"YTC%07d\",\"action_type\":200001,\"action_msg\":\"x\",\"event_id\":\"c%d\"}", i, i);
		while (MQTTClient_publish(client, "scans/c", (int)strlen(text), text, 1 + i % 2, 0, &token) != MQTTCLIENT_SUCCESS)
			connect_again();
		while (MQTTClient_waitForCompletion(client, token, 1000) != MQTTCLIENT_SUCCESS)
			connect_again();
		printf("%d\n", i + 1);
		fflush(stdout);
	}
	MQTTClient_disconnect(client, 1000);
	MQTTClient_destroy(&client);
	return 0;
}
